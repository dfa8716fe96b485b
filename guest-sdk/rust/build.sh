#!/bin/sh
# build.sh DIR NAME OUT OPT compiles the module in DIR, whose src/lib.rs uses nothing but this
# SDK, to OUT: with rustc alone, because cargo mixes the path of the SDK into its
# symbols, and the same source must give the same bytes wherever it lies. What is
# committed is made by Debian 12's rustc 1.63; RUSTC names another.
set -eu
dir=$1 name=$2 out=$3 opt=$4
sdk=$(cd "$(dirname "$0")" && pwd)
for rustc in "${RUSTC:-rustc}" /usr/bin/rustc; do
	libs=$("$rustc" --print sysroot 2>/dev/null)/lib/rustlib || continue
	for target in wasm32-wasi wasm32-wasip1; do
		[ -d "$libs/$target/lib" ] && break 2
	done
	target=
done
[ -n "$target" ] || { echo "no rustc with a WebAssembly target; on Debian: apt install rustc libstd-rust-dev-wasm32" >&2; exit 1; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
compile() { # crate, its folder, more flags
	crate=$1 folder=$2
	shift 2
	(cd "$folder" && "$rustc" --edition 2021 --crate-name "$crate" --target "$target" --out-dir "$tmp" \
		-Cmetadata="$crate" -Copt-level="$opt" -Ccodegen-units=1 -Cpanic=abort -Ctarget-feature=+bulk-memory \
		--remap-path-prefix "$folder=$crate" --remap-path-prefix "src=$crate" --remap-path-prefix "$tmp=" "$@" src/lib.rs)
}
compile runnel "$sdk" --crate-type rlib
compile "$name" "$(cd "$dir" && pwd)" --crate-type cdylib --extern "runnel=$tmp/librunnel.rlib" \
	-Clto=fat -Cstrip=symbols -Clink-arg=-zstack-size=32768
cp "$tmp/$name.wasm" "$out"
