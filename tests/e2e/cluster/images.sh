# Container images, assembled from files without a daemon or a registry; sourced by cluster.sh.

# image FILE NAMES CONFIG FILES…: an archive that `ctr images import` and `docker load` take, of one layer.
# NAMES are one word each; CONFIG is the inside of the image's config object. A file is SOURCE:PATH, a link PATH->TARGET, a folder PATH/.
image() (
  file=$IMAGES/$1 names=$2 config=$3
  shift 3
  work=$(mktemp -d "$IMAGES/.image.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/root/tmp" "$work/root/etc"
  chmod 1777 "$work/root/tmp"
  echo 'hosts: files dns' > "$work/root/etc/nsswitch.conf"
  for entry in "$@"; do
    case $entry in
      *-\>*) mkdir -p "$work/root$(dirname "${entry%%->*}")"; ln -s "${entry##*->}" "$work/root${entry%%->*}" ;;
      */) mkdir -p "$work/root$entry"; chmod 0777 "$work/root$entry" ;;
      *) install -D -m 0755 "$(readlink -f "${entry%%:*}")" "$work/root${entry##*:}" ;;
    esac
  done
  # Equal files give an equal image.
  archive() { tar --owner=0 --group=0 --numeric-owner --mtime=@0 --sort=name -C "$1" -cf "$2" "${@:3}"; }
  archive "$work/root" "$work/layer.tar" .
  layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":{%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"tests/e2e"}]}' \
    "$(image_architecture)" "$config" "$layer" > "$work/config.json"
  id=$(sha256sum "$work/config.json" | cut -d' ' -f1)
  mkdir "$work/image" "$work/image/$layer"
  mv "$work/layer.tar" "$work/image/$layer/layer.tar"
  mv "$work/config.json" "$work/image/$id.json"
  printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s/layer.tar"]}]' "$id" "${names// /\",\"}" "$layer" > "$work/image/manifest.json"
  archive "$work/image" "$work/image.tar" manifest.json "$id.json" "$layer"
  mv "$work/image.tar" "$file"
  say "image $names ($(($(stat -c %s "$file") / 1048576)) MiB)"
)

image_architecture() { case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac; }

# The shared libraries of a program, each as an entry of `image`.
libraries() {
  local library
  { ldd "$1" 2>/dev/null || true; } | grep -o '/[^ ]*' | sort -u | while read -r library; do echo "$library:$library"; done
}

kvass_version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$REPO/Cargo.toml"; }

# images: all that the manifests name. kvass is the binary of this checkout (KVASS_BINARY names another one).
images() {
  local kvass=${KVASS_BINARY:-$REPO/target/release/kvass} old=${PROMETHEUS_2:-$REPO/target/tools/prometheus} env
  local authorities=/etc/ssl/certs/ca-certificates.crt
  [ -x "$kvass" ] || die "$kvass is missing: make build"
  [ -x "$BIN/prometheus" ] || die "$BIN/prometheus is missing: make e2e-build"
  mkdir -p "$IMAGES"
  env='"Env":["PATH=/bin:/usr/bin"]'
  # pid 1 of every pod. A shell, as a lone `sleep` would ignore the signals that end it.
  image pause.tar e2e.test/pause:1 "$env"',"Entrypoint":["/bin/sh","-c","trap \"exit 0\" TERM INT; while :; do sleep 86400 & wait $!; done"]' \
    "$(command -v busybox):/bin/busybox" '/bin/sh->busybox' '/bin/sleep->busybox'
  image coredns.tar e2e.test/coredns:1 "$env"',"Entrypoint":["/coredns"]' "$BIN/coredns:/coredns"
  # The second name is for stories that change the image and nothing else.
  # shellcheck disable=SC2046  # one word per library
  image kvass.tar "kvass:$(kvass_version) kvass:same" "$env"',"Entrypoint":["/kvass"]' "$kvass:/kvass" \
    "$authorities:$authorities" $(libraries "$kvass")
  # User, folder and arguments as the published images have them.
  image prometheus.tar quay.io/prometheus/prometheus:v3.16.0 "$(prometheus_config "$env")" "$BIN/prometheus:/bin/prometheus" \
    "$BIN/promtool:/bin/promtool" /prometheus/
  if [ -x "$old" ]; then
    # shellcheck disable=SC2046
    image prometheus-2.tar quay.io/prometheus/prometheus:v2.42.0 "$(prometheus_config "$env")" "$old:/bin/prometheus" \
      /prometheus/ $(libraries "$old")
  fi
  image thanos.tar quay.io/thanos/thanos:v0.42.4 "$env"',"User":"1001","Entrypoint":["/bin/thanos"]' \
    "$BIN/thanos:/bin/thanos" "$authorities:$authorities"
  # Not part of every run: cluster.sh build operator vmagent.
  if [ -x "$BIN/operator" ]; then
    image operator.tar quay.io/prometheus-operator/prometheus-operator:v0.93.1 \
      "$env"',"User":"65534","Entrypoint":["/bin/operator"]' "$BIN/operator:/bin/operator" "$authorities:$authorities"
    image config-reloader.tar quay.io/prometheus-operator/prometheus-config-reloader:v0.93.1 \
      "$env"',"User":"65534","Entrypoint":["/bin/prometheus-config-reloader"]' "$BIN/prometheus-config-reloader:/bin/prometheus-config-reloader"
  fi
  if [ -x "$BIN/vmagent" ]; then
    image vmagent.tar victoriametrics/vmagent:v1.151.0 "$env"',"Entrypoint":["/vmagent-prod"]' "$BIN/vmagent:/vmagent-prod" \
      "$authorities:$authorities"
  fi
}
prometheus_config() {
  echo "$1"',"User":"65534","WorkingDir":"/prometheus","Entrypoint":["/bin/prometheus"],"Cmd":["--config.file=/etc/prometheus/prometheus.yml","--storage.tsdb.path=/prometheus"]'
}
