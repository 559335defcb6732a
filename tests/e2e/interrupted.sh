#!/usr/bin/env bash
# Ctrl-C while a cluster comes up, and in the middle of a story: run.sh ends with 130 and leaves nothing behind.
set -euo pipefail
# Job control: a process group for each run, and interrupts that are not ignored, as in a terminal.
set -m
cd "$(dirname "$0")/../.."
log=target/e2e/interrupted.log

# Everything a run has outside its processes, and the processes that work in its folder.
traces() {
  local process
  ls /run/kvass-e2e target/e2e/runs 2>/dev/null || true
  find /sys/fs/cgroup -maxdepth 2 -name 'kvass-e2e-*' 2>/dev/null | sort
  grep -c kvass-e2e /proc/mounts || true
  for process in /proc/[0-9]*; do
    case $(readlink "$process/cwd" 2>/dev/null) in */target/e2e/runs/*) echo "process in $(readlink "$process/cwd")" ;; esac
  done
}

# interrupt WHEN LINE SECONDS: begins story a, and interrupts it so long after the line is in the output.
interrupt() {
  local before status=0 pid
  before=$(traces)
  E2E_REPORT=target/e2e/interrupted tests/e2e/run.sh --story a > "$log" 2>&1 &
  pid=$!
  for _ in $(seq 240); do
    if grep -q -- "$2" "$log" || ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.5
  done
  grep -q -- "$2" "$log" || { echo "interrupted.sh: no '$2' within two minutes; $log has what there was" >&2; kill -INT -- "-$pid"; exit 1; }
  sleep "$3"
  # As the terminal does: to all processes in the foreground.
  kill -INT -- "-$pid"
  wait "$pid" || status=$?
  if [ "$status" != 130 ]; then echo "interrupted.sh: $1: exit code $status, not 130; $log" >&2; exit 1; fi
  if ! diff <(echo "$before") <(traces) >&2; then echo "interrupted.sh: $1: something was left behind, above" >&2; exit 1; fi
  echo "interrupted $1: nothing left"
}

interrupt "while the cluster comes up" "^cluster: run " 4
interrupt "in a story" "cluster up after" 25
