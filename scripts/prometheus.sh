#!/usr/bin/env bash
# Puts prometheus and promtool into target/tools and prints the path of the former, on the last line.
#
# In this order: $KVASS_PROMETHEUS (printed as it is), what is in target/tools already, what is on the PATH,
# Debian's package. The package is only unpacked, not installed, so no root is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

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

# apt-get with lists and cache of our own, so that it works without root and leaves the machine as it was.
private_apt() {
  local state=$work/apt options
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  options=(-qq -o "Dir::State=$state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$state/cache")
  # As root, apt would download as a user that may not write here.
  [ "$(id -u)" -ne 0 ] || options+=(-o "APT::Sandbox::User=root")
  apt-get "${options[@]}" "$@" >&2
}

take_from_debian() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  say "fetching Debian's package"
  (
    cd "$work"
    # With the machine's own package lists if it has them, else with fresh ones.
    apt-get -qq download prometheus >&2 2>/dev/null || { private_apt update && private_apt download prometheus; }
  ) || return 1
  dpkg-deb -x "$work"/prometheus_*.deb "$work/unpacked"
  for program in promtool prometheus; do
    # By rename: another process may be running or looking for the file.
    cp "$work/unpacked/usr/bin/$program" "$tools/.$program.new"
    mv "$tools/.$program.new" "$tools/$program"
  done
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
