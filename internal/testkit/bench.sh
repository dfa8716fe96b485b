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
echo
echo "three agents in a row:"
./bin/load -do chain,chain -count 2000000
./bin/load -do chain,chain -count 2000000 -even
./bin/load -do chain-far,chain-lone,chain-paced,chain-agents
./bin/load -do chain-paced -commit 20ms

# The peers' harness is not part of the project; it is used where it lies.
peers=../shared/bench-peers
[ -d "$peers" ] || exit 0
root=$PWD
work=$PWD/bin/peers
rm -rf "$work" && mkdir -p "$work" && cp -r "$peers"/. "$work" && chmod -R u+w "$work"
mkdir -p "$work/peers/runnel"
for f in internal/testkit/peers/*; do sed "s#RUNNEL_ROOT#$root#g" "$f" >"$work/peers/runnel/$(basename "$f")"; done
cd "$work"
go build -o bin/ ./cmd/...
lib=$root/.cache/syslog-ng/usr/lib
if [ -d "$lib" ]; then # unpacked, as its package and rsyslog's exclude each other
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s:%s/syslog-ng exec %s/../sbin/syslog-ng --module-path %s/syslog-ng/3.38 "$@"\n' "$lib" "$lib" "$lib" "$lib" >bin/syslog-ng
  chmod +x bin/syslog-ng
fi
echo
echo "beside the peers, each message on disk before it leaves, 4 connections, realistic messages:"
bin/runner -do durable -reps "${REPS:-3}" -conns 4 -only "runnel,floor,rsyslog/durable-disk,rsyslog/durable-da,syslog-ng/durable-reliable" -out durable.jsonl 2>/dev/null >/dev/null || true
bin/runner -summary -out durable.jsonl
echo
echo "UDP, 300 bytes, 10 s:"
bin/runner -do udp -udp-secs 10 -udp-rates 100000,200000 -reps 1 -only runnel,rsyslog,syslog-ng -out udp.jsonl 2>/dev/null >/dev/null || true
bin/runner -summary -out udp.jsonl
