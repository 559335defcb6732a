#!/usr/bin/env bash
# Records anew what promtool 2.42 (Debian's) and the newest one say of the configurations in crates/config/tests/data/judged.
# Needs Go for the newest, unless PROMETHEUS_3 names a built server with promtool beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "goldens-config.sh: $*" >&2; }

old=$(dirname "$(scripts/prometheus.sh | tail -1)")/promtool
new=$(scripts/prometheus-3.sh)/promtool
for program in "$(realpath "$old")" "$(realpath "$new")"; do
  say "$("$program" --version 2>&1 | head -1)"
  PROMTOOL=$program ${CARGO:-cargo} test --locked --package kvass-config --test judged -- --ignored --exact record::record
done

# The last one was the newest.
cd crates/cli/tests/data/targets
for job in groups files rules; do
  "$program" check service-discovery --timeout=3s "$PWD/prometheus.yml" "$job" | sed "s#$PWD#\$FOLDER#g" > "$job.json"
done
