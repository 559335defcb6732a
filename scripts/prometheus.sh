#!/usr/bin/env bash
# Puts prometheus and promtool into target/tools and prints the path of the former, on the last line.
#
# In this order: $KVASS_PROMETHEUS (printed as it is), what is in target/tools already, what is on the PATH,
# Debian's package. The package is only unpacked, not installed, so no root is needed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/debian.sh

if [ -n "${KVASS_PROMETHEUS:-}" ]; then
  echo "$KVASS_PROMETHEUS"
  exit
fi

tools=$PWD/target/tools
mkdir -p "$tools"
# Tests start this script several times at once.
exec 9>"$tools/.lock"
flock 9 2>/dev/null || true

say() { echo "prometheus.sh: $*" >&2; }

take_from_path() {
  command -v prometheus >/dev/null && command -v promtool >/dev/null || return 1
  ln -sf "$(command -v prometheus)" "$tools/prometheus"
  ln -sf "$(command -v promtool)" "$tools/promtool"
}

packages() { echo prometheus; }

take_from_debian() {
  local unpacked=$tools/.prometheus.d program
  say "fetching Debian's package"
  unpack_packages packages "$unpacked" || return 1
  for program in promtool prometheus; do
    # By rename: another process may be running or looking for the file.
    mv "$unpacked/usr/bin/$program" "$tools/$program" || return 1
  done
  rm -rf "$unpacked"
}

if ! [ -x "$tools/prometheus" ] || ! [ -x "$tools/promtool" ]; then
  take_from_path || take_from_debian || {
    say "no Prometheus: install one (Debian: apt-get install prometheus; others: https://prometheus.io/download)," \
      "put prometheus and promtool on the PATH, or set KVASS_PROMETHEUS to a binary"
    exit 1
  }
fi
say "$("$tools/prometheus" --version 2>&1 | head -1)"
echo "$tools/prometheus"
