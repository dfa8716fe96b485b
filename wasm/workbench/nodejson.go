package workbench

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/internal/config"
)

// recordJSON writes a record's mapping as JSON, without like and what like removes.
func recordJSON(n *config.Node) string {
	if n.Kind() != config.Map {
		return jsonOf(n)
	}
	like := n.Key("like") != nil
	var b strings.Builder
	for i, key := range n.Keys() {
		v := n.Items()[i]
		value := ""
		switch text, scalar := v.Text(); {
		case key == "like", like && v.Kind() == config.Null:
			continue
		case key == "attrs" && v.Kind() == config.Map:
			value = jsonObject(v, like)
		case scalar && v.Kind() != config.Null && slices.Contains(textFields[:], key):
			value = jsonText(text)
		default:
			value = jsonOf(v)
		}
		b.WriteString("," + jsonText(key) + ":" + value)
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

// jsonOf writes a node as JSON: keys in their order, numbers as they were
// written, so that 1.0 stays a float.
func jsonOf(n *config.Node) string {
	text, _ := n.Text()
	switch n.Kind() {
	case config.Null:
		return "null"
	case config.Bool:
		return text
	case config.Int, config.Float:
		return jsonNumber(n, text)
	case config.List:
		parts := make([]string, len(n.Items()))
		for i, item := range n.Items() {
			parts[i] = jsonOf(item)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case config.Map:
		return jsonObject(n, false)
	}
	return jsonText(text)
}

func jsonNumber(n *config.Node, text string) string {
	if json.Valid([]byte(text)) {
		return text
	}
	b, err := n.JSON()
	if err != nil {
		return jsonText(text) // not a number that JSON has: who reads it says so
	}
	if n.Kind() == config.Float && !strings.ContainsAny(string(b), ".eE") {
		return string(b) + ".0"
	}
	return string(b)
}

func jsonObject(n *config.Node, withoutNull bool) string {
	var parts []string
	for i, key := range n.Keys() {
		if v := n.Items()[i]; !withoutNull || v.Kind() != config.Null {
			parts = append(parts, jsonText(key)+":"+jsonOf(v))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func jsonText(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic("bug: a text that JSON cannot write: " + err.Error())
	}
	return string(b)
}

// quote writes a text as a case's YAML holds it: as config.Quote does, but nothing is expanded there.
func quote(s string) string { return strings.ReplaceAll(config.Quote(s), "$${", "${") }

// quoteKey is quote for a key in braces, where our reader wants quotes around a colon.
func quoteKey(s string) string {
	if text := quote(s); text != s || !strings.Contains(s, ":") {
		return text
	}
	return "'" + s + "'"
}
