#!/usr/bin/env bash
# Records anew what Prometheus makes of the bodies in crates/scrape/tests/data/bodies: record-bodies.sh [PROMETHEUS…]
#
# Without programs: Debian's Prometheus 2.42 and the one that the stories of `make e2e` build, if they are there.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
  set -- "$(scripts/prometheus.sh | tail -1)"
  built=${E2E_HOME:-target/e2e}/bin/prometheus
  if [ -x "$built" ]; then
    set -- "$@" "$(realpath "$built")"
  else
    echo "record-bodies.sh: $built is not there (tests/e2e/cluster/cluster.sh build prometheus makes it): only ${*} is asked" >&2
  fi
fi
for program in "$@"; do
  PROMETHEUS=$program "${CARGO:-cargo}" test --locked --package kvass-scrape --test bodies -- --ignored --nocapture record_goldens
done
