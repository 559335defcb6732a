#!/usr/bin/env bash
# Random configurations through the coordinator and real Prometheus servers: Debian's, and the newest if it was built.
# fuzz-config.sh [--seed N] [--seconds N] [--prometheus PROGRAM]…   (seconds for each server)
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "fuzz-config.sh: $*" >&2; exit 2; }

seed=$(date +%s) seconds=60 programs=()
while [ $# -gt 0 ]; do
  [ $# -gt 1 ] || die "$1: expected a value after it (--seed N, --seconds N, --prometheus PROGRAM)"
  case $1 in
    --seed) seed=$2 ;;
    --seconds) seconds=$2 ;;
    --prometheus) programs+=("$2") ;;
    *) die "$1: expected --seed N, --seconds N or --prometheus PROGRAM" ;;
  esac
  shift 2
done
[[ $seed =~ ^[0-9]+$ ]] || die "--seed $seed: expected a number"
[[ $seconds =~ ^[0-9]+$ ]] || die "--seconds $seconds: expected a number"

if [ ${#programs[@]} = 0 ]; then
  programs=("$(scripts/prometheus.sh | tail -1)")
  newest=${E2E_HOME:-target/e2e}/bin/prometheus
  if [ -x "$newest" ]; then
    programs+=("$(realpath "$newest")")
  else
    echo "fuzz-config.sh: Prometheus 3 is left out, as it is not built (needs Go: tests/e2e/cluster/cluster.sh build prometheus)" >&2
  fi
fi
for program in "${programs[@]}"; do
  FUZZ_SEED=$seed FUZZ_SECONDS=$seconds FUZZ_PROMETHEUS=$program ${CARGO:-cargo} test --locked --quiet --package kvass \
    --test conformance -- --exact fuzz::random_configurations_have_the_same_targets --nocapture ||
    { echo "fuzz-config.sh: again with: make fuzz-config ARGS=\"--seed $seed --prometheus $program\"" >&2; exit 1; }
done
