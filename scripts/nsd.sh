#!/usr/bin/env bash
# Puts NSD, a DNS server for tests, into target/tools and prints the path of a program that starts it, on the last line.
#
# In this order: what is in target/tools already, what is on the PATH, Debian's packages. They are only unpacked, not
# installed, so no root is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/tools
mkdir -p "$tools"
# Tests start this script several times at once.
exec 9>"$tools/.nsd.lock"
flock 9 2>/dev/null || true

say() { echo "nsd.sh: $*" >&2; }

starts() { [ -x "$tools/nsd" ] && "$tools/nsd" -v >/dev/null 2>&1; }

take_from_path() {
  local found
  found=$(PATH=$PATH:/usr/sbin command -v nsd) || return 1
  ln -sf "$found" "$tools/nsd"
  starts
}

apt_with() {
  # As root, apt would download as a user that may not write here.
  [ "$(id -u)" -ne 0 ] || set -- "$1" -o APT::Sandbox::User=root "${@:2}"
  "$1" -qq "${private[@]}" "${@:2}"
}

# The server and the libraries it names; those that the machine has already do no harm.
download() {
  local libraries
  libraries=$(apt_with apt-cache depends nsd | awk '$1 == "Depends:" && $2 ~ /^lib/ && $2 !~ /^libc6$/ { print $2 }') || return 1
  # shellcheck disable=SC2086 # one word per package
  apt_with apt-get download nsd $libraries >&2
}

take_from_debian() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  say "fetching Debian's package"
  (
    cd "$work"
    # With the machine's own package lists if it has them, else with fresh ones of our own.
    private=()
    download 2>/dev/null || {
      mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
      private=(-o "Dir::State=$work/apt" -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$work/apt/cache")
      apt_with apt-get update >&2 && download
    }
  ) || return 1
  for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/unpacked"; done
  rm -rf "$tools/nsd.d"
  mv "$work/unpacked" "$tools/nsd.d"
  libraries=$(dirname "$(find "$tools/nsd.d" -name 'libevent*.so.*' | head -1)")
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$tools/nsd.d/usr/sbin/nsd" >"$tools/.nsd.new"
  chmod +x "$tools/.nsd.new"
  mv "$tools/.nsd.new" "$tools/nsd"
  starts
}

starts || take_from_path || take_from_debian || {
  say "no NSD: install it (Debian: apt-get install nsd) and put nsd on the PATH"
  exit 1
}
echo "$tools/nsd"
