#!/usr/bin/env bash
# `make bench`: the micro-benchmarks of the hot paths, then the whole agent, then
# the peers where their harness lies beside the checkout. Prints everything; the
# figures in docs/benchmarks.md are copied from here.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "machine: $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), Linux $(uname -r)"
echo "commit:  $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
echo "load:    $(cut -d' ' -f1-3 /proc/loadavg)"
echo
go test -run '^$' -bench . -benchtime 1s -count "${COUNT:-1}" ./record ./internal/syslog ./internal/expression ./wasm ./storage ./forwarders/... ./agent/... | grep -vE '^(ok|PASS|goos|goarch|\?)'
echo
mkdir -p bin && go build -o bin/load ./internal/testkit/load
echo "runnel send to a discarding receiver, one connection:"
go test -run '^$' -bench BenchmarkSend -benchtime 3s ./cmd/runnel | grep Benchmark || true
echo
echo "the whole agent (2 M messages of 300 bytes, 4 connections; 1 M datagrams at 100 k/s):"
./bin/load -do idle,relay,relay,relay,plain -count 2000000
./bin/load -do udp -count 1000000 -rate 100000
