#!/usr/bin/env bash
# Measures what discovery of 100,000 pods costs, next to Prometheus, where everything is built that this needs:
# bench.sh [ARGUMENTS of kvass-e2e bench]
set -euo pipefail
cd "$(dirname "$0")/../.."
for program in target/release/kvass target/release/kvass-e2e; do
  if [ ! -x $program ]; then
    echo "NOT RUN: discovery in Kubernetes: $program is missing; make bench-kubernetes builds what it needs"
    exit 0
  fi
done
status=0
target/release/kvass-e2e bench "$@" || status=$?
# The reason was told.
[ $status = 3 ] || exit $status
