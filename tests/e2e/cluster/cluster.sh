#!/usr/bin/env bash
# A whole Kubernetes cluster on this machine, from programs built here and the distribution's packages; README.md
# tells how it is made. Needs root.
# shellcheck source=common.sh source=build.sh source=images.sh source=machine.sh source=cgroups.sh source=runs.sh source=control-plane.sh source=node.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
for part in build images machine cgroups runs control-plane node; do . "$HERE/$part.sh"; done

usage() {
  cat <<'U'
cluster.sh COMMAND
  check                 says what a cluster needs and this machine lacks; installs packages that are missing
  build [MODULE…]       builds the Go programs into bin/ (modules: the folders of tests/e2e/modules)
  images                assembles the container images into images/, kvass from target/release/kvass
  up [NODES]            starts a cluster (2 nodes); the last line is the path of its env file
  down RUN              ends a cluster and removes all of it
  down-owned            the same for the clusters of process $E2E_OWNER
  sweep                 the same for clusters whose owner has died
  list                  running clusters
  node-crash RUN N      node N loses its power
  node-return RUN N     and has it again
  stop RUN PROGRAM      kills etcd, kube-apiserver, kube-controller-manager, kube-scheduler, or NODE/kubelet,
                        NODE/containerd, NODE/kube-proxy
  start RUN PROGRAM     starts it again
  connections RUN       the connections that the nodes' kernels know of, those between pods of a node included
  exec RUN COMMAND…     runs a command inside the cluster's network; kubectl is the built one, as admin
  logs RUN FOLDER       collects logs, and what the API server says about the objects
Files are under E2E_HOME (default target/e2e). With E2E_OWNER=PID a cluster counts as left behind when that process has ended.
U
}

need_root() { [ "$(id -u)" = 0 ] || die "a cluster needs root (namespaces, mounts, control groups): sudo make e2e, or KUBECONFIG for another cluster"; }

# Paths become parts of lists, of programs' configurations and of sourced files.
need_plain_path() { case $E2E_HOME in *[[:space:]]*) die "E2E_HOME=$E2E_HOME: spaces cannot be in it; set it to another folder" ;; esac; }

# The distribution's part, installed where it is missing and can be.
need_packages() {
  local missing=() pair
  for pair in containerd:containerd ctr:containerd runc:runc ip:iproute2 iptables:iptables busybox:busybox-static openssl:openssl \
    nsenter:util-linux unshare:util-linux flock:util-linux mount:mount tar:tar; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  # Some kernels show connections to this program only.
  [ -e /proc/net/nf_conntrack ] || command -v conntrack >/dev/null || missing+=(conntrack)
  [ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] || [ -x /usr/libexec/cni/bridge ] || missing+=(containernetworking-plugins)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "missing, and there is no apt-get: ${missing[*]} (Debian's names)"
  say "installing ${missing[*]}"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >&2 ||
    die "apt-get could not install: ${missing[*]}"
}

up() {
  local nodes=${1:-2} begin=$SECONDS dir n jobs=() job
  case $E2E_HOME/ in /run/* | /var/log/* | /proc/* | /sys/*) die "E2E_HOME=$E2E_HOME: nodes cannot see this folder; choose another one" ;; esac
  for n in kube-apiserver kubelet etcd; do [ -x "$BIN/$n" ] || die "$BIN/$n is missing: make e2e-build"; done
  [ -s "$IMAGES/pause.tar" ] || die "no images in $IMAGES: make e2e-build"
  sweep
  modprobe -qa br_netfilter overlay veth 2>/dev/null || true
  dir=$(locked run_new)
  # The nodes come up in the background, where an interrupt alone would not reach them.
  trap 'kill "${jobs[@]}" 2>/dev/null; exit 130' INT TERM
  say "run $(basename "$dir")"
  control_plane_up "$dir"
  for n in $(seq "$nodes"); do
    node_up "$dir" "$n" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || die "a node did not come up; logs: $dir/node*/log"; done
  kubectl "$dir" apply -f "$HERE/manifests" >&2
  kubectl "$dir" -n kube-system rollout status deployment/coredns --timeout=90s >&2
  env_file "$dir" "$nodes"
  say "cluster up after $((SECONDS - begin)) s"
  echo "$dir/env"
}

env_file() {
  local dir=$1 nodes=$2 n names=() ips=()
  for n in $(seq "$nodes"); do names+=("node$n") ips+=("$(node_ip "$n")"); done
  ln -sf pki/admin.kubeconfig "$dir/kubeconfig"
  cat > "$dir/env" <<V
RUN=$(basename "$dir")
KUBECONFIG=$dir/kubeconfig
BIN=$BIN
NETNS=/proc/$(machine_pid "$dir" control)/ns/net
AUDIT_LOG=$dir/audit.log
VOLUMES=$dir/volumes
NODES="${names[*]}"
NODE_IPS="${ips[*]}"
API_SERVER=https://$HOST_IP:6443
CLUSTER_SH=$HERE/cluster.sh
V
}

# MACHINE/PROGRAM, or a program of the control plane.
program_place() { case $1 in */*) echo "${1%%/*} ${1#*/}" ;; *) echo "control $1" ;; esac; }

logs() {
  local dir=$1 out=$2 machine
  mkdir -p "$out"
  for machine in "$dir"/control "$dir"/node*; do
    if [ -d "$machine/log" ]; then mkdir -p "$out/$(basename "$machine")"; cp "$machine"/log/* "$out/$(basename "$machine")/"; fi
    if [ -d "$machine/pod-logs" ]; then cp -rL "$machine/pod-logs" "$out/$(basename "$machine")/pods"; fi
  done
  {
    kubectl "$dir" get nodes,pods,statefulsets,deployments,pvc,pv,events,leases -A -o wide
    kubectl "$dir" get statefulsets,pods,configmaps,events -A -o yaml
  } > "$out/objects.txt" 2>&1 || true
}

command=${1:-help}
shift || true
case $command in
  build) need_plain_path; build "$@" ;;
  images) need_plain_path; images ;;
  help | -h | --help) usage ;;
  list) for link in "$REGISTER"/*; do [ ! -L "$link" ] || basename "$link"; done ;;
  check | up | down | down-owned | sweep | node-crash | node-return | stop | start | connections | exec | logs)
    need_root
    need_plain_path
    case $command in check | up | sweep | down-owned) ;; *) [ $# -gt 0 ] || die "$command: which run?" ;; esac
    case $command in
      check) need_go; need_packages ;;
      up) need_packages; up "$@" ;;
      down) down "$1" ;;
      down-owned) down_owned ;;
      sweep) sweep ;;
      node-crash) node_crash "$(run_dir "$1")" "$2" ;;
      node-return) node_up "$(run_dir "$1")" "$2" ;;
      stop | start)
        place=$(program_place "${2:?which program?}")
        "program_$command" "$(run_dir "$1")" "${place% *}" "${place#* }"
        ;;
      connections) connections "$(run_dir "$1")" ;;
      exec) dir=$(run_dir "$1") && PATH=$BIN:$PATH KUBECONFIG=$dir/kubeconfig nsenter -t "$(machine_pid "$dir" control)" --net -- "${@:2}" ;;
      logs) logs "$(run_dir "$1")" "$2" ;;
    esac ;;
  *) usage >&2; exit 2 ;;
esac
