#!/usr/bin/env bash
# Builds the binary that the image ships, statically linked, and copies it to FILE: static-binary.sh FILE [amd64|arm64]
#
# For the machine's own architecture unless one is named. Then for musl where the toolchain has that target (and a C
# compiler for it), else glibc linked statically, which needs nothing beyond a usual toolchain. With an architecture named
# it is always glibc, so that both are alike; another than the machine's needs its Rust target and its cross compiler
# (Debian: gcc-aarch64-linux-gnu, gcc-x86-64-linux-gnu).
set -euo pipefail
file=${1:?usage: static-binary.sh FILE [amd64|arm64]}
case $file in /*) ;; *) file=$PWD/$file ;; esac
cd "$(dirname "$0")/.."

fail() { echo "static-binary.sh: $*" >&2; exit 1; }

machine=$(uname -m)
case ${2:-} in
  "") arch=$machine ;;
  amd64) arch=x86_64 ;;
  arm64) arch=aarch64 ;;
  *) fail "unknown architecture '$2': expected amd64 or arm64" ;;
esac

if [ $# -lt 2 ] && [ -d "$(rustc --print sysroot)/lib/rustlib/$arch-unknown-linux-musl" ] && command -v musl-gcc >/dev/null; then
  target=$arch-unknown-linux-musl
else
  target=$arch-unknown-linux-gnu
fi
if [ "$arch" != "$machine" ]; then
  compiler=$arch-linux-gnu-gcc
  command -v "$compiler" >/dev/null || fail "$compiler is missing: install the cross compiler for $arch"
  [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || fail "the Rust target is missing: rustup target add $target"
  name=${target//-/_}
  export "CC_$name=$compiler" "CARGO_TARGET_${name^^}_LINKER=$compiler"
fi
echo "static-binary.sh: building for $target" >&2
# With --target the flags do not reach build scripts and macros, which cannot be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
  cargo build --locked --profile dist --package kvass --target "$target"
install -D -m 0755 "${CARGO_TARGET_DIR:-target}/$target/dist/kvass" "$file"
