#!/usr/bin/env bash
# Records anew what real Prometheus servers make of the cases that `make test` replays: Debian's 2.42, and the newest, which
# needs Go, unless PROMETHEUS_3 names a built one. NAMES=a,b records these cases only.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "goldens.sh: $*" >&2; }

old=$(scripts/prometheus.sh | tail -1)
PROMETHEUS_3=$(scripts/prometheus-3.sh)/prometheus
export PROMETHEUS_3 PROMETHEUS_2=$old
for program in "$PROMETHEUS_2" "$PROMETHEUS_3"; do
  say "$("$program" --version 2>&1 | head -1)"
done

say "tests/conformance: configurations and their targets"
${CARGO:-cargo} test --locked --package kvass --test conformance -- --ignored --exact record::record_goldens --nocapture

# Each mechanism is recorded from the newest server that knows it; neither knows all.
section() { sed -n 's/^  "key": "\(.*\)",$/\1/p' "$1"; }
knows() {
  local config
  config=$(mktemp)
  printf 'scrape_configs:\n- job_name: j\n  %s: []\n' "$2" > "$config"
  if "$(dirname "$1")/promtool" check config --syntax-only "$config" >/dev/null 2>&1; then rm "$config"; else rm "$config"; return 1; fi
}
declare -A recorded=()
for file in crates/discovery/tests/data/mechanisms/*.json; do
  case $file in *.expected.json) continue ;; esac
  name=$(basename "$file" .json) key=$(section "$file")
  [ -z "${NAMES:-}" ] || [[ ,$NAMES, == *,$name,* ]] || continue
  for program in "$PROMETHEUS_3" "$PROMETHEUS_2"; do
    if knows "$program" "$key"; then
      recorded[$program]+=${recorded[$program]:+,}$name
      continue 2
    fi
  done
  say "$name: left as it is, as neither server knows $key"
done
for program in "${!recorded[@]}"; do
  say "crates/discovery: ${recorded[$program]}"
  PROMETHEUS=$program NAMES=${recorded[$program]} ${CARGO:-cargo} test --locked --package kvass-discovery --test it -- \
    --ignored --nocapture record_goldens
done
