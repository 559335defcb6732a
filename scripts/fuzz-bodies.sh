#!/usr/bin/env bash
# Compares our verdicts on random scrape bodies with those of Prometheus' parsers: fuzz-bodies.sh [SECONDS [SEED]]
#
# Builds the program of tests/reference/textparse first, which takes Go.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "fuzz-bodies.sh: $*" >&2; exit 1; }

module=tests/reference/textparse
want=$(sed -n 's/^go \([0-9.]*\)$/\1/p' "$module/go.mod")
command -v go >/dev/null || fail "go is missing: install Go $want or newer (https://go.dev/dl)"
mkdir -p target/reference
program=$PWD/target/reference/textparse
(cd "$module" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS='-buildvcs=false -mod=readonly' go build -trimpath -o "$program" .) ||
  fail "the program was not built: it takes Go $want or newer, and its modules are downloaded when it is built for the first time"

export TEXTPARSE=$program SECONDS_OF_FUZZING=${1:-60} SEED=${2:-$(date +%s)}
exec "${CARGO:-cargo}" test --locked --package kvass-scrape --test bodies -- --ignored --nocapture mutated_bodies
