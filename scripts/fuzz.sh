#!/usr/bin/env bash
# Compares our regular expressions and relabelling with Go's and Prometheus' on random input: fuzz.sh [ARGUMENT…]
#
# Builds the two reference programs of tests/reference/go first, which takes Go; target/release/kvass-reference has to be
# there (`make fuzz` builds it).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "fuzz.sh: $*" >&2; exit 1; }

want=$(sed -n 's/^go \([0-9.]*\)$/\1/p' tests/reference/go/*/go.mod | sort -V | tail -1)
command -v go >/dev/null || fail "go is missing: install Go $want or newer (https://go.dev/dl)"
have=$(GOTOOLCHAIN=local go env GOVERSION) have=${have#go} have=${have%% *}
[ "$(printf '%s\n' "$want" "$have" | sort -V | head -1)" = "$want" ] ||
  fail "Go $have is too old: tests/reference/go needs $want or newer (https://go.dev/dl)"

bin=$PWD/target/reference
mkdir -p "$bin"
for name in prometheus2 prometheus3; do
  (cd "tests/reference/go/$name" &&
    CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS='-buildvcs=false -mod=readonly' go build -trimpath -o "$bin/$name" .) ||
    fail "$name was not built; its modules are downloaded when it is built for the first time (GOPROXY says from where)"
done

exec target/release/kvass-reference --prometheus2 "$bin/prometheus2" --prometheus3 "$bin/prometheus3" "$@"
