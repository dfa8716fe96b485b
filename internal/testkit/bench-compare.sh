#!/usr/bin/env bash
# `make bench-compare REF=main`: the benchmarks of REF and of this tree, six runs
# each, interleaved, by benchstat.
set -euo pipefail
cd "$(dirname "$0")/../.."
ref=${1:-main}
runs=${RUNS:-6}
bench=${BENCH:-.}
packages=${PACKAGES:-./record ./internal/syslog ./internal/expression ./wasm ./storage ./forwarders/... ./agent/...}
old=$(mktemp -d)
trap 'git worktree remove --force "$old" >/dev/null 2>&1 || true; rm -rf "$old"' EXIT
git worktree add --detach --force "$old" "$ref" >/dev/null
mkdir -p bin
: >bin/bench.old
: >bin/bench.new
for _ in $(seq "$runs"); do
  (cd "$old" && go test -run '^$' -bench "$bench" -benchmem $packages) >>bin/bench.old
  go test -run '^$' -bench "$bench" -benchmem $packages >>bin/bench.new
done
go tool benchstat bin/bench.old bin/bench.new
