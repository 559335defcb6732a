# Settings and small tools of all scripts in this folder; sourced by cluster.sh.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$HERE/../../.." && pwd)
PATH=$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# All that is built or made: bin/, images/, runs/RUN/.
E2E_HOME=${E2E_HOME:-$REPO/target/e2e}
mkdir -p "$E2E_HOME"
E2E_HOME=$(cd "$E2E_HOME" && pwd)
BIN=$E2E_HOME/bin
IMAGES=$E2E_HOME/images

# Addresses are the same in every run: each has a network namespace of its own, with no way in or out.
HOST_IP=10.77.0.1
NODE_NET=10.77.0
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
SERVICE_API=10.96.0.1
SERVICE_DNS=10.96.0.10

say() { echo "cluster: $*" >&2; }
die() { echo "cluster: $*" >&2; exit 1; }

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
  local seconds=$1 what=$2 end
  shift 2
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "no $what within $seconds s"
    sleep 0.2
  done
}

# The folder of a run, which must exist.
run_dir() {
  local dir
  dir=$(readlink -f "$REGISTER/${1:?which run?}" 2>/dev/null) || dir=
  [ -n "$dir" ] && [ -d "$dir" ] || die "there is no run '$1'; runs: $(ls "$REGISTER" 2>/dev/null | tr '\n' ' ')"
  echo "$dir"
}

# What all runs on this machine share, and what was made for them: one link per run, and `made`.
REGISTER=/run/kvass-e2e

# Runs a function while no other run changes what is shared. The lock is that of a folder that is always there,
# so that no lock file stays behind.
locked() {
  local status=0
  exec {lock}</run
  flock "$lock"
  "$@" || status=$?
  exec {lock}<&-
  return $status
}
