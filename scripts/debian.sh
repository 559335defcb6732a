# Programs of Debian's packages, without root and without installing them; sourced by prometheus.sh and nsd.sh.

# As apt-get or apt-cache, with the package lists of `private`, if there are some.
apt_with() {
  # As root, apt would download as a user that may not write here.
  [ "$(id -u)" -ne 0 ] || set -- "$1" -o APT::Sandbox::User=root "${@:2}"
  "$1" -qq "${private[@]}" "${@:2}"
}

# download PACKAGES: fetches what the function PACKAGES names, one a line, into the working folder.
download() {
  local names
  names=$("$1") && [ -n "$names" ] || return 1
  # shellcheck disable=SC2086 # one word per package
  apt_with apt-get download $names >&2
}

# unpack_packages PACKAGES INTO: the same, and unpacks them into a new folder. With the machine's own package lists if it has
# them, else with fresh ones of our own.
unpack_packages() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  (
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
    cd "$work" || exit 1
    private=()
    download "$1" 2>/dev/null || {
      mkdir -p apt/lists/partial apt/cache/archives/partial
      private=(-o "Dir::State=$work/apt" -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$work/apt/cache")
      apt_with apt-get update >&2 && download "$1"
    } || exit 1
    for package in *.deb; do dpkg-deb -x "$package" unpacked || exit 1; done
    rm -rf "$2" && mv unpacked "$2"
  )
}
