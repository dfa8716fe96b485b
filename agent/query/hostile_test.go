package query

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// posts are the calls that take a body, with one that is right.
var posts = map[string]string{
	"/api/v1/cursors":              `{"forwarder":"hook","stream":"app","set":1}`,
	"/api/v1/redrive":              `{"stream":"app","forwarder":"hook","from":1,"to":2,"dry_run":true}`,
	"/api/v1/modules/classify/try": `{"message":"a","severity":3,"attrs":{"a":1}}`,
}

// TestWrongTypesAreRefused gives each key of each body every other type: a
// number where a text should be must not be taken for something else, nor for nothing.
func TestWrongTypesAreRefused(t *testing.T) {
	b := serve(t, nil)
	b.source.add(t, "app", line("a", 1), line("b", 2))
	moved := maps.Clone(b.host.moved)
	types := map[string]string{"bool": `true`, "number": `1`, "negative": `-1`, "fraction": `1.5`, "huge": `1e400`, "text": `"no\u0000ne"`, "list": `[]`, "lists": `[["a"]]`,
		"object": `{}`, "objects": `{"a":{"b":1}}`, "deep": strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)}
	right := map[string][]string{ // what may be: the rest is refused
		"/api/v1/cursors set": {"number"}, "/api/v1/redrive dry_run": {"bool"}, "/api/v1/redrive from": {"number"}, "/api/v1/redrive to": {"number"},
		"/api/v1/redrive stream": {"text"}, "/api/v1/redrive forwarder": {"text"}, // whether they exist is for the host to know
		"/api/v1/modules/classify/try message": {"text"}, "/api/v1/modules/classify/try severity": {"number"}, "/api/v1/modules/classify/try attrs": {"object", "objects"},
	}
	tried := 0
	for path, body := range posts {
		var keys map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &keys); err != nil {
			t.Fatal(err)
		}
		for key := range keys {
			for kind, value := range types {
				if strings.Contains(fmt.Sprint(right[path+" "+key])+" ", kind+"]") || strings.Contains(fmt.Sprint(right[path+" "+key]), kind+" ") {
					continue
				}
				wrong := maps.Clone(keys)
				wrong[key] = json.RawMessage(value)
				text := "{"
				for k, v := range wrong {
					text += fmt.Sprintf("%q:%s,", k, v)
				}
				resp, answer := b.do("POST", path, strings.TrimSuffix(text, ",")+"}")
				tried++
				if resp.StatusCode != 400 && resp.StatusCode != 404 || errorOf(t, answer) == "" {
					t.Errorf("%s with %s as %s: got %d %.200s, want it refused", path, key, kind, resp.StatusCode, answer)
				}
			}
		}
		for _, whole := range []string{"", "null", "true", "1", `"x"`, "[]", "[1]", "{", body + body[:1], body + " x", "\xff\xfe" + body, types["deep"]} {
			if resp, answer := b.do("POST", path, whole); resp.StatusCode != 400 || errorOf(t, answer) == "" {
				t.Errorf("%s with %.40q: got %d %.200s, want 400", path, whole, resp.StatusCode, answer)
			}
		}
	}
	if tried < 80 {
		t.Errorf("%d bodies were tried, want 80 at least", tried)
	}
	if !maps.Equal(moved, b.host.moved) {
		t.Errorf("cursors were moved from %v to %v", moved, b.host.moved)
	}
}

// FuzzPosts sends any body to the calls that take one: no panic, and always a
// JSON answer that says what became of it.
func FuzzPosts(f *testing.F) {
	for _, body := range posts {
		f.Add([]byte(body))
	}
	f.Add([]byte(`{"stream":"app","stop":true}`))
	f.Add([]byte(`[{"message":"a"},{"time":"2026-11-22T10:00:00Z","message":"\u0000"}]`))
	f.Add([]byte(`{"forwarder":"hook","stream":"app","set":"end"}`))
	m := newMemory()
	m.add(f, "app", line("x", 1), line("y", 2))
	o := fuzzOptions(m)
	o.Host = &fakeHost{moved: map[string]uint64{"hook/app": 5}}
	s := New(o)
	f.Fuzz(func(t *testing.T, body []byte) {
		for path := range posts {
			var c fasthttp.RequestCtx
			c.Request.Header.SetMethod("POST")
			c.Request.SetRequestURI("http://localhost" + path)
			c.Request.SetBody(body)
			s.handle(t.Context(), &c, true)
			switch code := c.Response.StatusCode(); code {
			case 200, 400, 404:
			default:
				t.Errorf("%s %q: got %d %s", path, body, code, c.Response.Body())
			}
			if !json.Valid(c.Response.Body()) {
				t.Errorf("%s %q: got %q", path, body, c.Response.Body())
			}
		}
	})
}
