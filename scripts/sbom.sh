#!/usr/bin/env bash
# Writes what the binary is made of, every crate with version, licence and checksum, as CycloneDX JSON: sbom.sh FILE
# With cargo-cyclonedx from the PATH or built into target/tools.
set -euo pipefail
file=${1:?usage: sbom.sh FILE}
case $file in /*) ;; *) file=$PWD/$file ;; esac
cd "$(dirname "$0")/.."

version=0.5.9
tools=$PWD/target/tools
PATH=$PATH:$tools/bin
if ! command -v cargo-cyclonedx >/dev/null; then
  echo "sbom.sh: building cargo-cyclonedx $version into target/tools, once" >&2
  cargo install --quiet --locked --root "$tools" "cargo-cyclonedx@$version"
fi

# The tool writes beside the manifests of all members; only that of the binary is wanted.
name=kvass-sbom
trap 'rm -f crates/*/$name.json' EXIT
# For arm64 they are these, or fewer.
cargo cyclonedx --quiet --format json --spec-version 1.5 --all --target x86_64-unknown-linux-gnu --override-filename "$name" \
  --manifest-path crates/cli/Cargo.toml
# Where the checkout stood is nobody's business.
mkdir -p "$(dirname "$file")"
sed "s#file://$PWD/#file:///#g" "crates/cli/$name.json" > "$file"
echo "sbom.sh: $(grep -c '"purl"' "$file") components in $file" >&2
