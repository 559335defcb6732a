#!/usr/bin/env bash
# Builds the binary that the image ships, statically linked, and copies it to FILE: static-binary.sh FILE
#
# For musl where the toolchain has that target (and a C compiler for it), else glibc linked statically, which
# needs nothing beyond a usual toolchain.
set -euo pipefail
file=${1:?usage: static-binary.sh FILE}
case $file in /*) ;; *) file=$PWD/$file ;; esac
cd "$(dirname "$0")/.."

arch=$(uname -m)
musl=$arch-unknown-linux-musl
if [ -d "$(rustc --print sysroot)/lib/rustlib/$musl" ] && command -v musl-gcc >/dev/null; then
  target=$musl
else
  target=$arch-unknown-linux-gnu
fi
echo "static-binary.sh: building for $target" >&2
# With --target the flags do not reach build scripts and macros, which cannot be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
  cargo build --locked --profile dist --package kvass --target "$target"
install -D -m 0755 "${CARGO_TARGET_DIR:-target}/$target/dist/kvass" "$file"
