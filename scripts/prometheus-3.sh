#!/usr/bin/env bash
# Builds the newest Prometheus and its promtool, from the pinned module, with all discovery mechanisms whose clients can be had,
# into target/tools/prometheus-3, and prints that folder. What `make e2e` builds has only those that its stories use.
#
# PROMETHEUS_3=PROGRAM names a built server, with promtool beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "prometheus-3.sh: $*" >&2; }
die() { say "$*"; exit 1; }

if [ -n "${PROMETHEUS_3:-}" ]; then
  dirname "$(realpath "$PROMETHEUS_3")"
  exit
fi
scripts/need.sh go "install Go, see tests/e2e/README.md, or name a built Prometheus in PROMETHEUS_3"
folder=$PWD/target/tools/prometheus-3
# All but nomad, which is not among the pinned modules.
mechanisms=remove_all_sd
for name in aws azure consul digitalocean dns eureka gce hetzner ionos kubernetes linode marathon moby oci openstack outscale \
  ovhcloud puppetdb scaleway stackit triton uyuni vultr xds zookeeper; do
  mechanisms+=,enable_${name}_sd
done
# shellcheck source=tests/e2e/cluster/build.sh
REPO=$PWD . tests/e2e/cluster/build.sh
need_go
cd "$MODULES/prometheus"
# shellcheck source=tests/e2e/modules/prometheus/module.sh
. ./module.sh
want="$(fingerprint) $mechanisms"
if [ "$(cat "$folder/.from" 2>/dev/null)" != "$want" ]; then
  say "building ${programs[*]}, which takes some minutes"
  mkdir -p "$folder"
  CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS='-buildvcs=false -mod=readonly' \
    go build -trimpath -tags "$mechanisms" -ldflags "-s -w $ldflags" -o "$folder/" "${packages[@]}" >&2
  echo "$want" > "$folder/.from"
fi
echo "$folder"
