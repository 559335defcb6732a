# The Go programs of the cluster and of its users, from modules that go.mod and go.sum pin; sourced by cluster.sh.

MODULES=$REPO/tests/e2e/modules
CLUSTER_MODULES=(kubernetes etcd coredns thanos prometheus helm)

# The version that the go.mod in the current folder requires of a module.
required() { sed -n "s#^\(require\)\?[[:space:]]*$1 \(v[^ ]*\).*#\2#p" go.mod | head -1; }

need_go() {
  local have want
  command -v go >/dev/null || die "go is missing: install Go $(wanted_go) or newer (https://go.dev/dl)"
  have=$(GOTOOLCHAIN=local go env GOVERSION) want=$(wanted_go)
  have=${have#go} have=${have%% *}
  [ "$(printf '%s\n' "$want" "$have" | sort -V | head -1)" = "$want" ] ||
    die "Go $have is too old: the modules in tests/e2e/modules need $want or newer"
}
wanted_go() { sed -n 's/^go \([0-9.]*\)$/\1/p' "$MODULES"/*/go.mod | sort -V | tail -1; }

# What a program was built from; another value builds it anew.
fingerprint() { { GOTOOLCHAIN=local go version; cat go.mod go.sum module.sh; cat ./*.go; } | sha256sum | cut -d' ' -f1; }

# Where a module that the go.mod in the current folder requires is, downloaded if need be.
module_folder() {
  GOTOOLCHAIN=local GOFLAGS=-mod=readonly go mod download "$1"
  GOTOOLCHAIN=local go list -mod=readonly -m -f '{{.Dir}}' "$1"
}

# build_module NAME: a subshell, as each module.sh sets variables of its own.
build_module() (
  programs=() packages=() files=() own=() inside='' tags='' ldflags=''
  cd "$MODULES/$1" || die "no module '$1' in tests/e2e/modules"
  # shellcheck source=/dev/null
  . ./module.sh
  want=$(fingerprint)
  up_to_date=yes
  for program in "${programs[@]}"; do
    [ -x "$BIN/$program" ] && [ "$(cat "$BIN/.$program.from" 2>/dev/null)" = "$want" ] || up_to_date=no
  done
  for file in "${files[@]}"; do [ -s "$BIN/${file##*:}" ] || up_to_date=no; done
  if [ $up_to_date = yes ]; then
    say "$1: up to date"
    exit 0
  fi
  start=$SECONDS
  out=$(mktemp -d "$BIN/.build.XXXXXX")
  trap 'rm -rf "$out"' EXIT
  # A program that is built inside its own module, with files of ours in the place of some, FILE:PATH; the module cache is
  # nothing to write to.
  if [ -n "$inside" ]; then
    from=$(module_folder "$inside")
    cp -r "$from" "$out/.source"
    chmod -R u+w "$out/.source"
    for file in "${own[@]}"; do cp "${file%%:*}" "$out/.source/${file#*:}"; done
    cd "$out/.source"
  fi
  # One call for all packages of a module: what they share is compiled and type-checked once.
  CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS='-buildvcs=false -mod=readonly' \
    go build -trimpath -tags "$tags" -ldflags "-s -w $ldflags" -o "$out/" "${packages[@]}" >&2
  # A module with one program names it; its package may be called otherwise (`server`, `e2e`).
  if [ ${#programs[@]} = 1 ]; then mv "$out"/* "$out/.built"; mv "$out/.built" "$out/${programs[0]}"; fi
  for program in "${programs[@]}"; do
    mv "$out/$program" "$BIN/$program"
    echo "$want" > "$BIN/.$program.from"
  done
  # MODULE:PATH:NAME, files of a module as they are.
  for file in "${files[@]}"; do
    from=$(module_folder "${file%%:*}")
    file=${file#*:}
    install -m 0644 "$from/${file%%:*}" "$BIN/${file##*:}"
  done
  say "$1: ${programs[*]} built in $((SECONDS - start)) s"
)

# build [MODULE…]: those of CLUSTER_MODULES unless named.
build() {
  local start=$SECONDS module
  need_go
  mkdir -p "$BIN"
  [ $# -gt 0 ] || set -- "${CLUSTER_MODULES[@]}"
  for module in "$@"; do build_module "$module"; done
  say "programs ready in $((SECONDS - start)) s"
}
