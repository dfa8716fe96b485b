package wasm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Manifest is what a module says of itself (ABI §2.5).
type Manifest struct {
	Name        string `json:"name"`
	Version     string `json:"version,omitempty"`
	ABI         int    `json:"abi"`
	Description string `json:"description,omitempty"`
	// Needs are the host services it imports: state, metrics, lookup.
	Needs []string `json:"needs,omitempty"`
	// Config is a JSON Schema (draft 2020-12) of its config; nil: any will do.
	Config json.RawMessage `json:"config,omitempty"`
}

const (
	manifestSection = "runnel.manifest"
	maxManifest     = 64 << 10
)

// ReadManifest returns the manifest a module carries; nil if it carries none.
func ReadManifest(code []byte) (*Manifest, error) {
	if _, err := sections(code); err != nil {
		return nil, err
	}
	return readManifest(code)
}

// readManifest is ReadManifest of what sections has found to be a module.
func readManifest(code []byte) (*Manifest, error) {
	var body []byte
	found := 0
	for _, c := range customs(code) {
		if c.name == manifestSection {
			body = c.body
			found++
		}
	}
	switch {
	case found == 0:
		return nil, nil
	case found > 1:
		return nil, fmt.Errorf("has %d manifests; build it again with runnel module build", found)
	case len(body) > maxManifest:
		return nil, fmt.Errorf("has a manifest of %d bytes, more than the limit of %d; shorten its description or config schema", len(body), maxManifest)
	case !utf8.Valid(body):
		return nil, errors.New("has a manifest that is not UTF-8; build it again with runnel module build")
	}
	m := new(Manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("has a manifest that cannot be read: %s; build it again with runnel module build", strings.TrimPrefix(err.Error(), "json: "))
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("has a manifest whose %w; mend its module.yaml and build it again", err)
	}
	return m, nil
}

var manifestName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// check says what is wrong with a manifest.
func (m *Manifest) check() error {
	if !manifestName.MatchString(m.Name) {
		return fmt.Errorf("name %q is not 1 to 64 letters, digits, \"-\" and \"_\"", m.Name)
	}
	if m.ABI != ABI {
		return fmt.Errorf("abi is %d; this host speaks %d", m.ABI, ABI)
	}
	for i, need := range m.Needs {
		if need != needState && need != needMetrics && need != needLookup {
			return fmt.Errorf("needs list %q; known are %s, %s and %s", need, needState, needMetrics, needLookup)
		}
		if slices.Contains(m.Needs[:i], need) {
			return fmt.Errorf("needs list %q twice", need)
		}
	}
	if schema := bytes.TrimSpace(m.Config); len(schema) > 0 && schema[0] != '{' {
		if string(schema) != "null" {
			return errors.New("config is not an object, which a JSON Schema of it would be")
		}
		m.Config = nil
	}
	return nil
}

// Append returns code with the manifest in its section, at the end of the module
// and in place of an earlier one. The same manifest gives the same bytes.
func (m *Manifest) Append(code []byte) ([]byte, error) {
	if _, err := sections(code); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("manifest's %w", err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("manifest's config: %w", err)
	}
	if len(text) > maxManifest {
		return nil, fmt.Errorf("manifest has %d bytes, more than the limit of %d", len(text), maxManifest)
	}
	out := make([]byte, 0, len(code)+len(text)+32)
	done := 0
	for _, c := range customs(code) {
		if c.name == manifestSection {
			out = append(out, code[done:c.from]...)
			done = c.to
		}
	}
	out = append(out, code[done:]...)
	return appendSection(out, secCustom, append(appendName(nil, manifestSection), text...)), nil
}

// custom is a custom section, and where in the module it is.
type custom struct {
	name     string
	body     []byte
	from, to int
}

// customs returns the custom sections of what sections has found to be a module.
// One whose name is malformed is left out: nobody asks for it.
func customs(code []byte) []custom {
	var list []custom
	for at := 8; at < len(code); {
		r := &reader{p: code, at: at + 1}
		size := int(r.u32())
		from, end := at, r.at+size
		if code[at] == secCustom {
			inner := &reader{p: code[r.at:end]}
			if name := inner.bytes(int(inner.u32())); inner.err == nil {
				list = append(list, custom{string(name), inner.p[inner.at:], from, end})
			}
		}
		at = end
	}
	return list
}

// Manifest returns what the module says of itself; nil if it says nothing.
func (m *Module) Manifest() *Manifest { return m.manifest }
