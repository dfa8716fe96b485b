package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schema is a compiled JSON Schema (draft 2020-12 unless it names another).
type Schema struct {
	compiled *jsonschema.Schema
	doc      any // as it was parsed, for what the compiled one does not tell
}

// schemaName stands for the schema in errors; nothing is fetched from there.
const schemaName = "schema"

// errOutside: a schema may not make the agent read files or ask servers.
var errOutside = errors.New("refers to something outside of itself")

type nowhere struct{}

func (nowhere) Load(url string) (any, error) { return nil, fmt.Errorf("%q: %w", url, errOutside) }

// ParseSchema compiles a schema. The error is that of its text.
func ParseSchema(src []byte) (*Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(nowhere{})
	if err := c.AddResource(schemaName, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(schemaName)
	if err != nil {
		return nil, schemaError(err)
	}
	return &Schema{compiled, doc}, nil
}

// schemaError says on one line what is wrong with a schema.
func schemaError(err error) error {
	var invalid *jsonschema.SchemaValidationError
	var wrong *jsonschema.ValidationError
	if errors.As(err, &invalid) && errors.As(invalid.Err, &wrong) {
		text := ""
		leaves(wrong, func(e *jsonschema.ValidationError) {
			if text == "" {
				text = "/" + strings.Join(e.InstanceLocation, "/") + ": " + describe(e)
			}
		})
		return errors.New(text)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(first)
}

// CheckSchema reports where the value at a does not fit the schema; an absent
// value is an empty object.
func (a *At) CheckSchema(s *Schema, present bool) {
	src := []byte("{}")
	if present {
		var err error
		if src, err = a.node.JSON(); err != nil {
			a.Problemf("%v", err)
			return
		}
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		a.Problemf("%v", err)
		return
	}
	var wrong *jsonschema.ValidationError
	if errors.As(s.compiled.Validate(value), &wrong) {
		leaves(wrong, func(e *jsonschema.ValidationError) { a.mismatch(s, e) })
	}
}

// properties returns the keys that the schema at a location knows.
func (s *Schema) properties(location string) []string {
	_, pointer, _ := strings.Cut(location, "#")
	at := s.doc
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer+"/properties", "/"), "/") {
		if plain, err := url.PathUnescape(step); err == nil {
			step = plain
		}
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := at.(type) {
		case map[string]any:
			at = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			at = v[i]
		default:
			return nil
		}
	}
	known, _ := at.(map[string]any)
	return slices.Sorted(maps.Keys(known))
}

// mismatch reports one leaf of a validation's errors where it belongs.
func (a *At) mismatch(s *Schema, e *jsonschema.ValidationError) {
	at := a
	for _, step := range e.InstanceLocation {
		at = at.step(step)
	}
	if unknown, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
		for _, key := range unknown.Properties {
			to := at
			if at.node.Key(key) != nil {
				to = at.node.KeyAt(at.problems, key)
			}
			if near, ok := Nearest(key, s.properties(e.SchemaURL)); ok {
				to.Problemf("is no key that the module knows; did you mean %s?", near)
			} else {
				to.Problemf("is no key that the module knows")
			}
		}
		return
	}
	at.Problemf("%s", describe(e))
}

// step goes down by a key or an index, as far as there is something.
func (a *At) step(name string) *At {
	if a.node.Kind() == List {
		for i := range a.node.entries {
			if fmt.Sprint(i) == name {
				return a.Index(i)
			}
		}
		return a
	}
	if a.node.Key(name) == nil {
		return a
	}
	return a.Key(name)
}

// leaves calls f with the errors that are not merely the sum of others.
func leaves(e *jsonschema.ValidationError, f func(*jsonschema.ValidationError)) {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains:
		f(e) // its parts are alternatives
		return
	}
	if len(e.Causes) == 0 {
		f(e)
	}
	for _, cause := range e.Causes {
		leaves(cause, f)
	}
}

var english = message.NewPrinter(language.English)

// describe says what is wrong in the words of the other problems.
func describe(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return fmt.Sprintf("is %s; write %s", typeNames(k.Got), typeNames(k.Want...))
	case *kind.Required:
		return fmt.Sprintf("lacks %s, which the module requires", strings.Join(k.Missing, " and "))
	case *kind.Enum:
		words := make([]string, len(k.Want))
		for i, w := range k.Want {
			words[i] = fmt.Sprint(w)
		}
		return fmt.Sprintf("%q is none of the words for it; write %s", fmt.Sprint(k.Got), Choices(words))
	case *kind.Pattern:
		return fmt.Sprintf("%q does not match %s", k.Got, k.Want)
	case *kind.AnyOf, *kind.OneOf:
		return "has none of the forms that the module knows"
	}
	return "does not fit the module: " + e.ErrorKind.LocalizedString(english)
}

// typeNames are JSON's types as error messages name them.
func typeNames(types ...string) string {
	names := map[string]string{"null": "empty", "boolean": "true or false", "integer": "a whole number", "number": "a number",
		"string": "a text", "array": "a list", "object": "a mapping"}
	words := make([]string, len(types))
	for i, t := range types {
		words[i] = names[t]
	}
	return Choices(words)
}
