#!/usr/bin/env bash
# Records anew what Prometheus makes of the bodies in crates/scrape/tests/data/bodies: record-bodies.sh [PROMETHEUS…]
#
# Without programs: Debian's Prometheus 2.42 and the newest, which needs Go unless PROMETHEUS_3 names a built one.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then set -- "$(scripts/prometheus.sh | tail -1)" "$(scripts/prometheus-3.sh)/prometheus"; fi
for program in "$@"; do
  PROMETHEUS=$program "${CARGO:-cargo}" test --locked --package kvass-scrape --test bodies -- --ignored --nocapture record_goldens
done
