#!/usr/bin/env bash
# Records anew what promtool 2.42 (Debian's) and the newest one say of the configurations in crates/config/tests/data/judged.
# Needs Go for the newest, which is built here with all discovery mechanisms whose clients can be had.
# PROMTOOL_3=PROGRAM names a built one.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "goldens-config.sh: $*" >&2; }

build_promtool() {
  local out=$PWD/target/tools/promtool-3 mechanisms=remove_all_sd name
  # All but nomad, which is not among the pinned modules.
  for name in aws azure consul digitalocean dns eureka gce hetzner ionos kubernetes linode marathon moby oci openstack outscale \
    ovhcloud puppetdb scaleway stackit triton uyuni vultr xds zookeeper; do
    mechanisms+=,enable_${name}_sd
  done
  say "building promtool, which takes some minutes"
  (
    # shellcheck source=tests/e2e/cluster/build.sh
    REPO=$PWD . tests/e2e/cluster/build.sh
    cd "$MODULES/prometheus"
    # shellcheck source=tests/e2e/modules/prometheus/module.sh
    . ./module.sh
    CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS='-buildvcs=false -mod=readonly' \
      go build -trimpath -tags "$mechanisms" -ldflags "-s -w $ldflags" -o "$out" github.com/prometheus/prometheus/cmd/promtool >&2
  )
  echo "$out"
}

old=$(dirname "$(scripts/prometheus.sh | tail -1)")/promtool
new=${PROMTOOL_3:-}
if [ -z "$new" ]; then
  scripts/need.sh go "install Go, see tests/e2e/README.md, or name a built one in PROMTOOL_3"
  new=$(build_promtool)
fi
for program in "$(realpath "$old")" "$(realpath "$new")"; do
  say "$("$program" --version 2>&1 | head -1)"
  PROMTOOL=$program ${CARGO:-cargo} test --locked --package kvass-config --test judged -- --ignored --exact record::record
done

# The last one was the newest.
cd crates/cli/tests/data/targets
for job in groups files rules; do
  "$program" check service-discovery --timeout=3s "$PWD/prometheus.yml" "$job" | sed "s#$PWD#\$FOLDER#g" > "$job.json"
done
