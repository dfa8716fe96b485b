package workbench

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runnel-log/runnel/internal/config"
	"github.com/runnel-log/runnel/wasm"
)

// About is what inspect says of a module.
type About struct {
	File     string         `json:"file"`
	Hash     string         `json:"sha256"`
	Size     int            `json:"bytes"`
	Manifest *wasm.Manifest `json:"manifest"`
	Ordered  bool           `json:"ordered"`

	Functions int      `json:"functions"`
	CodeBytes int      `json:"code_bytes"`
	Data      int      `json:"data_bytes"`
	MemoryMin int64    `json:"memory_min_bytes"`
	MemoryMax int64    `json:"memory_max_bytes"` // -1: what its config allows
	Tables    []int    `json:"tables"`
	Features  []string `json:"features"`
	Imports   []string `json:"imports"` // module.name
	Exports   []string `json:"exports"`
	Needs     []string `json:"needs"`
	Refusals  []string `json:"refusals"`

	Write string `json:"write"` // what the configuration must say
	// In words:
	Memory, Runs, Config string `json:"-"`
}

// Describe puts in words what wasm.Inspect has found.
func Describe(file string, d *wasm.Description) *About {
	a := &About{File: file, Hash: d.Hash, Size: d.Size, Manifest: d.Manifest, Ordered: d.Ordered, Functions: d.Functions, CodeBytes: d.CodeBytes,
		Data: d.Data, MemoryMin: d.MemoryMin, MemoryMax: d.MemoryMax, Tables: d.Tables, Features: d.Features, Exports: d.Exports,
		Needs: d.Needs, Refusals: d.Refusals}
	for _, im := range d.Imports {
		name := im.Name
		if im.Module != "runnel" {
			name = im.Module + "." + im.Name
		}
		a.Imports = append(a.Imports, name)
	}
	most := "as much as its config allows"
	if d.MemoryMax >= 0 {
		most = config.Bytes(d.MemoryMax).String() + " at most"
	}
	a.Memory = fmt.Sprintf("%s to begin with, %s", config.Bytes(d.MemoryMin), most)
	a.Runs = "as many instances as there is work for"
	if d.Ordered {
		a.Runs = "ordered: one instance for each pipeline, one batch after another"
	}
	if d.Manifest != nil {
		a.Config = schemaKeys(d.Manifest.Config)
	}
	a.Write = configuration(file, d)
	return a
}

// schemaKeys names the keys of a config's schema with their types.
func schemaKeys(schema []byte) string {
	var s struct {
		Properties map[string]struct{ Type any }
		Required   []string
	}
	if json.Unmarshal(schema, &s) != nil {
		return ""
	}
	var keys []string
	for key, p := range s.Properties {
		text := key
		if name, ok := p.Type.(string); ok {
			text += " (" + name + ")"
		}
		if slices.Contains(s.Required, key) {
			text += ", required"
		}
		keys = append(keys, text)
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

// configuration writes what the agent's configuration must say of a module.
func configuration(file string, d *wasm.Description) string {
	name := strings.TrimSuffix(filepath.Base(file), ".wasm")
	if d.Manifest != nil {
		name = d.Manifest.Name
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  modules:\n    %s:\n      file: %s\n", quote(name), quote(file))
	var grants []string
	for _, need := range d.Needs {
		if need != "lookup" {
			grants = append(grants, need)
		}
	}
	if len(grants) > 0 {
		fmt.Fprintf(&b, "      grant: [%s]\n", strings.Join(grants, ", "))
	}
	if slices.Contains(d.Needs, "lookup") {
		b.WriteString("      tables: {NAME: {file: FILE.csv, key: COLUMN}}\n")
	}
	if need := max(d.MemoryMin, d.MemoryMax); need > wasm.DefaultMemory {
		fmt.Fprintf(&b, "      memory: %s\n", config.Bytes(need))
	}
	return b.String()
}
