#!/usr/bin/env bash
# Brings a cluster up, tells the stories on it, and takes it down, whatever happened: run.sh [ARGUMENTS of kvass-e2e run]
#
# With KUBECONFIG the stories are told on that cluster; those that need its machines are reported as NOT RUN, and the
# exit code is 3. Other exit codes: 0 all held; 1 an expectation failed; 2 no cluster, or a fault of the harness.
set -euo pipefail
cd "$(dirname "$0")/../.."
cluster=tests/e2e/cluster/cluster.sh
stories=target/release/kvass-e2e
report=${E2E_REPORT:-target/e2e/report}

if [ -n "${KUBECONFIG:-}" ]; then
  echo "run.sh: telling the stories on the cluster of KUBECONFIG=$KUBECONFIG" >&2
  exec "$stories" run --foreign --checkout . --out "$report" "$@"
fi

# A cluster whose owner is gone counts as left behind: the next one removes it, should we be killed.
export E2E_OWNER=$$
env_file='' child=''
finish() {
  local status=$?
  trap - EXIT
  trap '' INT TERM
  if [ -n "$child" ]; then
    kill -INT "$child" 2>/dev/null || true
    for _ in $(seq 20); do
      kill -0 "$child" 2>/dev/null || break
      sleep 1
    done
    kill -KILL "$child" 2>/dev/null || true
  fi
  if [ -n "${RUN:-}" ] && { [ "$status" = 1 ] || [ "$status" = 2 ]; }; then
    if "$cluster" logs "$RUN" "$report/logs"; then echo "run.sh: logs are in $report/logs" >&2; fi
  fi
  "$cluster" down-owned || status=2
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

env_file=$("$cluster" up "${E2E_NODES:-2}" | tail -1) || exit 2
# shellcheck source=/dev/null
. "$env_file"
# In the background, as bash answers no signal before a command in the foreground has ended.
nsenter --net="$NETNS" "$stories" run --env "$env_file" --checkout . --out "$report" "$@" &
child=$!
status=0
wait "$child" || status=$?
child=''
exit "$status"
