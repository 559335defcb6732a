#!/usr/bin/env bash
# Puts NSD, a DNS server for tests, into target/tools and prints the path of a program that starts it, on the last line.
#
# In this order: what is in target/tools already, what is on the PATH, Debian's packages. They are only unpacked, not
# installed, so no root is needed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/debian.sh

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

# The server and the libraries it names; those that the machine has already do no harm.
packages() {
  echo nsd
  apt_with apt-cache depends nsd | awk '$1 == "Depends:" && $2 ~ /^lib/ && $2 !~ /^libc6$/ { print $2 }'
}

take_from_debian() {
  local library
  say "fetching Debian's package"
  unpack_packages packages "$tools/nsd.d" || return 1
  library=$(cd "$tools" && find nsd.d -name 'libevent*.so.*' | head -1)
  [ -n "$library" ] || return 1
  cat >"$tools/.nsd.new" <<PROGRAM
#!/bin/sh
tools=\$(dirname "\$0")
LD_LIBRARY_PATH=\$tools/$(dirname "$library") exec "\$tools/nsd.d/usr/sbin/nsd" "\$@"
PROGRAM
  chmod +x "$tools/.nsd.new"
  mv "$tools/.nsd.new" "$tools/nsd"
  starts
}

starts || take_from_path || take_from_debian || {
  say "no NSD: install it (Debian: apt-get install nsd) and put nsd on the PATH"
  exit 1
}
echo "$tools/nsd"
