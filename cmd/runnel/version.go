package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/runnel-log/runnel/record"
	"github.com/runnel-log/runnel/storage"
	"github.com/runnel-log/runnel/wasm"
)

// version is set by the Makefile: -X main.version=v1.2.3.
var version = "dev"

// versionCmd prints what this binary is.
type versionCmd struct{}

func (versionCmd) Run(g *globals) error {
	info := struct {
		Version string `json:"version"`
		Commit  string `json:"commit"`
		Go      string `json:"go"`
		ABI     int    `json:"abi"`
		Record  int    `json:"record_format"`
		Store   int    `json:"store_format"`
	}{version, commit(), runtime.Version(), wasm.ABI, record.Version, storage.Version}
	if g.Output == "json" {
		return json.NewEncoder(g.Stdout).Encode(info)
	}
	_, err := fmt.Fprintf(g.Stdout, "runnel %s (commit %s, %s, %s/%s)\nmodule ABI %d, record format %d, store format %d\n",
		info.Version, info.Commit, info.Go, runtime.GOOS, runtime.GOARCH, info.ABI, info.Record, info.Store)
	return err
}

// commitHash is set by the Makefile, for builds without version control stamps.
var commitHash = ""

func commit() string {
	if commitHash != "" {
		return commitHash
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
