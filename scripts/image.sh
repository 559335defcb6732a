#!/usr/bin/env bash
# Builds the image for both architectures, stamped with version and commit: image.sh NAME [ARGUMENT OF docker buildx build…]
#
#   scripts/image.sh registry.example/kvass --push
#   scripts/image.sh kvass --platform=linux/amd64 --load
#
# The tag is the version. A checkout with changes is refused: its commit would not be what was built.
set -euo pipefail
name=${1:?usage: image.sh NAME [ARGUMENT OF docker buildx build…]}
shift
cd "$(dirname "$0")/.."

if [ -n "$(git status --porcelain)" ]; then
  echo "image.sh: the checkout has changes that are not committed: git status" >&2
  exit 1
fi
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
commit=$(git rev-parse HEAD)
platforms=(--platform=linux/amd64,linux/arm64)
for argument in "$@"; do
  case $argument in --platform*) platforms=() ;; esac
done
set -x
exec docker buildx build "${platforms[@]}" --build-arg "KVASS_VERSION=$version" --build-arg "KVASS_COMMIT=$commit" \
  --tag "$name:$version" "$@" .
