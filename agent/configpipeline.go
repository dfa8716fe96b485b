package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/internal/expression"
)

// pipelineSection is one pipeline.
type pipelineSection struct {
	From   []string       `yaml:"from" required:"true"`
	Steps  []*config.Node `yaml:"steps"`
	Stream string         `yaml:"stream"`
}

func (l *loader) pipelines(section *config.Node) {
	l.section(section, "pipelines: {NAME: {from: [INPUT]}}", func(name string, n *config.Node) {
		l.named(section, name)
		s := pipelineSection{Stream: defaultName}
		config.Decode(n, &s, &l.problems)
		at := n.At(&l.problems)
		for i, input := range s.From {
			l.from(at.Key("from").Index(i), name, input)
		}
		if stream(at.Key("stream"), s.Stream) {
			l.config.known[s.Stream] = true
		}
		p := PipelineConfig{Name: name, From: s.From, Stream: s.Stream}
		p.KeepsStreams = n.Key("stream") == nil && slices.ContainsFunc(s.From, l.config.relays)
		for _, step := range s.Steps {
			if sc, ok := l.step(step); ok {
				p.Steps = append(p.Steps, sc)
			}
		}
		l.config.Pipelines = append(l.config.Pipelines, p)
	})
}

// from checks one input of a pipeline: it exists, and no other pipeline has it.
func (l *loader) from(at *config.At, pipeline, input string) {
	names := at.Root().Key("inputs").Keys()
	switch before, twice := l.inputOf[input]; {
	case !slices.Contains(names, input) && len(names) == 0:
		at.Problemf("%q is no input here, there are none; write inputs: {%s: {type: …}}", input, input)
	case !slices.Contains(names, input):
		if near, ok := config.Nearest(input, names); ok {
			at.Problemf("%q is no input here; did you mean %s?", input, near)
			return
		}
		at.Problemf("%q is no input here; write one of %s", input, config.Choices(names))
	case twice && before == pipeline:
		at.Problemf("%q is named twice; remove one", input)
	case twice:
		at.Problemf("%q belongs to pipeline %s already, and an input has one pipeline; use route in that one, or a second input", input, before)
	default:
		l.inputOf[input] = pipeline
	}
}

var stepKeys = []string{"parse", "drop", "set", "module", "route"}

// step reads one step: a mapping with exactly one key.
func (l *loader) step(n *config.Node) (StepConfig, bool) {
	at := n.At(&l.problems)
	keys := n.Keys()
	if n.Kind() != config.Map || len(keys) == 0 {
		at.Problemf("is %s; write a step with one of the keys %s, such as parse: json", n.Kind(), config.Choices(stepKeys))
		return StepConfig{}, false
	}
	if len(keys) > 1 {
		n.KeyAt(&l.problems, keys[1]).Problemf("is a second key of one step; begin a step of its own with \"- %s:\"", keys[1])
		return StepConfig{}, false
	}
	value := n.Key(keys[0])
	switch keys[0] {
	case "parse":
		return l.parseStep(value)
	case "drop":
		p, text := l.expression(value, expression.Condition)
		return StepConfig{Drop: p, Text: "drop: " + text}, p != nil
	case "set":
		return l.setStep(value)
	case "module":
		return l.moduleStep(value)
	case "route":
		return l.routeStep(value)
	}
	key := n.KeyAt(&l.problems, keys[0])
	if near, ok := config.Nearest(keys[0], stepKeys); ok {
		key.Problemf("is not a step; did you mean %s?", near)
	} else {
		key.Problemf("is not a step; write one of %s", config.Choices(stepKeys))
	}
	return StepConfig{}, false
}

// parseOptions are those of the long form: parse: {json: {map: false}}.
type parseOptions struct {
	Map bool `yaml:"map"`
}

func (l *loader) parseStep(n *config.Node) (StepConfig, bool) {
	at := n.At(&l.problems)
	format, scalar := n.Text()
	options := parseOptions{Map: true}
	if keys := n.Keys(); len(keys) == 1 {
		format, scalar = keys[0], true
		config.Decode(n.Key(format), &options, &l.problems)
	}
	if format != "json" && format != "logfmt" {
		if !scalar {
			at.Problemf("is %s; write json, logfmt or {json: {map: false}}", n.Kind())
		} else {
			at.Problemf("%q is not a format that can be parsed; write json or logfmt", format)
		}
		return StepConfig{}, false
	}
	text := "parse: " + format
	if !options.Map {
		text = "parse: {" + format + ": {map: false}}"
	}
	return StepConfig{Parse: format, ParseMap: options.Map, Text: text}, true
}

func (l *loader) setStep(n *config.Node) (StepConfig, bool) {
	at, keys := n.At(&l.problems), n.Keys()
	if len(keys) == 0 {
		at.Problemf("is %s; write the attributes to set: {cluster: '\"eu-1\"'}", emptyOr(n))
		return StepConfig{}, false
	}
	s, ok := StepConfig{}, true
	for _, key := range keys {
		if key == "" || len(key) > 255 {
			n.KeyAt(&l.problems, key).Problemf("is no name for an attribute; write 1 to 255 bytes")
			ok = false
		}
		p, _ := l.expression(n.Key(key), expression.Value)
		ok = ok && p != nil
		s.Set = append(s.Set, SetField{Key: key, Value: p})
	}
	s.Text = "set: " + strings.Join(keys, ", ")
	return s, ok
}

func (l *loader) routeStep(n *config.Node) (StepConfig, bool) {
	at, keys := n.At(&l.problems), n.Keys()
	if len(keys) == 0 {
		at.Problemf("is %s; write the streams and their conditions: {errors: 'severity <= \"err\"'}", emptyOr(n))
		return StepConfig{}, false
	}
	s, ok := StepConfig{}, true
	for _, key := range keys {
		if !stream(n.KeyAt(&l.problems, key), key) {
			ok = false
			continue
		}
		l.config.known[key] = true
		p, _ := l.expression(n.Key(key), expression.Condition)
		ok = ok && p != nil
		s.Route = append(s.Route, Route{Stream: key, When: p})
	}
	s.Text = "route: " + strings.Join(keys, ", ")
	return s, ok
}

func emptyOr(n *config.Node) string {
	if n.Kind() == config.Map {
		return "empty"
	}
	return n.Kind().String()
}

func (l *loader) moduleStep(n *config.Node) (StepConfig, bool) {
	at := n.At(&l.problems)
	name, ok := n.Text()
	names := at.Root().Key("modules").Keys()
	switch {
	case !ok || name == "":
		at.Problemf("is %s; write the name of a module", n.Kind())
	case slices.Contains(names, name):
		return StepConfig{Module: name, Text: "module: " + name}, true
	case len(names) == 0:
		at.Problemf("%q is no module here, there are none; write modules: {%s: {file: FILE.wasm}}", name, name)
	default:
		if near, ok := config.Nearest(name, names); ok {
			at.Problemf("%q is no module here; did you mean %s?", name, near)
		} else {
			at.Problemf("%q is no module here; write one of %s", name, config.Choices(names))
		}
	}
	return StepConfig{}, false
}

// expression compiles a value of the file; what is wrong is placed inside the text.
func (l *loader) expression(n *config.Node, compile func(string) (*expression.Program, error)) (*expression.Program, string) {
	at := n.At(&l.problems)
	src, ok := n.Text()
	if !ok || n.Kind() == config.Null {
		at.Problemf("is %s; write an expression in quotes, such as 'severity <= \"err\"'", n.Kind())
		return nil, ""
	}
	p, err := compile(src)
	var e *expression.Error
	switch {
	case err == nil:
		return p, src
	case errors.As(err, &e):
		at.ProblemAt(e.Offset, e.Width, "%s", e.Text)
	default:
		at.Problemf("%s", fmt.Sprint(err))
	}
	return nil, src
}
