# A node: a machine with containerd, runc, the CNI bridge, kubelet and kube-proxy; sourced by cluster.sh.

# kubelet wants other values of these, and they are the host's. It is shown files that hold what it wants.
KUBELET_SYSCTLS=(vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000)

node_ip() { echo "$NODE_NET.$((10 + $1))"; }

# node_up DIR N: also the return of a crashed node, which finds its disk as it was.
node_up() {
  local dir=$1 n=$2 node=node$2 begin=$SECONDS run cidr
  local home=$1/node$2
  run=$(basename "$dir")
  mkdir -p "$home/cni" "$home/log"
  node_machine "$dir" "$run" "$node" "$(node_ip "$n")"
  cgroup_make "kvass-e2e-$run-$node"
  node_containerd "$dir" "$node"
  node_kubelet "$dir" "$node" "$(node_ip "$n")" "kvass-e2e-$run-$node" "zone-$n"
  node_kube_proxy "$dir" "$node" "$(node_ip "$n")"
  wait_for 60 "pod addresses for $node" bash -c "[ -n \"\$(nsenter -t $(machine_pid "$dir" control) --net '$BIN/kubectl' --kubeconfig '$dir/pki/admin.kubeconfig' get node $node -o 'jsonpath={.spec.podCIDR}')\" ]"
  cidr=$(kubectl "$dir" get node "$node" -o 'jsonpath={.spec.podCIDR}')
  node_network "$dir" "$node" "$(node_ip "$n")" "$cidr"
  wait_for 90 "ready node $node" kubectl "$dir" wait --for=condition=Ready "node/$node" --timeout=2s
  say "$node ready after $((SECONDS - begin)) s"
}

# node_crash DIR N. A machine that starts again has no control groups of before; kubelet would look into each.
node_crash() {
  machine_kill "$1" "node$2"
  cgroup_remove "kvass-e2e-$(basename "$1")-node$2"
}

node_machine() {
  local dir=$1 run=$2 node=$3 ip=$4 setup setting
  # What programs write at fixed places stays in the machine. The host's /run/netns and iptables lock are not ours.
  setup="mount -t tmpfs none /run; mount -t tmpfs none /var/log; mount -t tmpfs none /var/lib/kubelet; mount -t tmpfs none /var/lib/cni
    mkdir -p /tmp/hostpath_pv; mount --bind '$dir/volumes' /tmp/hostpath_pv; mkdir -p '$dir/$node/sysctl'; ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward;"
  for setting in "${KUBELET_SYSCTLS[@]}"; do
    local file=$dir/$node/sysctl/${setting%%=*}
    setup+="mkdir -p '$(dirname "$file")'; echo ${setting#*=} > '$file'; mount --bind '$file' /proc/sys/${setting%%=*};"
  done
  machine_start "$run" "$dir" "$node" "$setup"
  nsenter -t "$(machine_pid "$dir" control)" --net -- bash -ec \
    "ip link add v$node type veth peer name eth0 netns $(machine_pid "$dir" "$node"); ip link set v$node master br0 up"
  # Without the last line, answers of a service's pod on the same node would not come back through the service.
  in_machine "$dir" "$node" bash -ec "
    ip address add $ip/24 dev eth0; ip link set eth0 up; ip route add default via $HOST_IP
    echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables" ||
    die "the network of $node cannot be set up: are the kernel modules br_netfilter and veth loaded?"
}

node_containerd() {
  local dir=$1 node=$2 home=$1/$2 archive snapshotter=overlayfs
  # Overlays cannot lie on overlays, as in a container; copies can.
  if [ "$(stat -fc %T "$home")" = overlayfs ]; then snapshotter=native; fi
  # An image is one that was imported, or there is none: pulls end at once, and say which one was meant.
  mkdir -p "$home/registries/_default"
  printf '[host."http://127.0.0.1:1"]\n  capabilities = ["pull", "resolve"]\n' > "$home/registries/_default/hosts.toml"
  cat > "$home/containerd.toml" <<C
version = 2
root = "$home/containerd"
state = "/run/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "e2e.test/pause:1"
  # Scores below our own need a capability that not every virtual machine grants.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$home/registries"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$(cni_plugins)"
    conf_dir = "$home/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "$(command -v runc)"
        SystemdCgroup = false
C
  program_start "$dir" "$node" containerd "$(command -v containerd)" -c "$home/containerd.toml"
  wait_for 30 "containerd on $node" in_machine "$dir" "$node" ctr version
  # After a crash the images are there.
  if [ ! -e "$home/imported" ]; then
    for archive in "$IMAGES"/*.tar; do
      in_machine "$dir" "$node" ctr -n k8s.io images import --snapshotter "$snapshotter" "$archive" >/dev/null ||
        die "$node cannot import $archive"
    done
    touch "$home/imported"
  fi
}

# Where the packages of the distributions put the CNI programs.
cni_plugins() {
  local folder
  for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    if [ -x "$folder/bridge" ]; then echo "$folder"; return; fi
  done
  die "no CNI programs (bridge, host-local, portmap) in /usr/lib/cni, /opt/cni/bin or /usr/libexec/cni"
}

node_kubelet() {
  local dir=$1 node=$2 ip=$3 cgroup=$4 zone=$5 home=$1/$2
  if [ ! -e "$dir/pki/$node.crt" ]; then
    certificate "$dir" "$node" "system:node:$node" system:nodes "DNS:$node,IP:$ip"
    kubeconfig "$dir" "$node"
  fi
  echo "nameserver 127.0.0.1" > "$home/resolv.conf"
  cat > "$home/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ip
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $dir/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $dir/pki/$node.crt
tlsPrivateKeyFile: $dir/pki/$node.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: $home/volume-plugins
podLogsDir: $home/pod-logs
resolvConf: $home/resolv.conf
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 20000
clusterDNS: [$SERVICE_DNS]
clusterDomain: cluster.local
# Else an image that was imported under one name and asked for under another is pulled again.
imagePullCredentialsVerificationPolicy: NeverVerify
imageGCHighThresholdPercent: 100
# A changed ConfigMap reaches mounted files within this time (a minute by default): kubelet hears of it by its watch
# and writes it when it next looks at the pod.
syncFrequency: 5s
configMapAndSecretChangeDetectionStrategy: Watch
nodeStatusUpdateFrequency: 4s
nodeLeaseDurationSeconds: 12
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: "100Mi"}
C
  program_start "$dir" "$node" kubelet "$BIN/kubelet" --config="$home/kubelet.yaml" --kubeconfig="$dir/pki/$node.kubeconfig" \
    --hostname-override="$node" --node-ip="$ip" --root-dir="$home/kubelet" --node-labels="topology.kubernetes.io/zone=$zone" --v=2
}

node_kube_proxy() {
  local dir=$1 node=$2 ip=$3 home=$1/$2
  cat > "$home/kube-proxy.yaml" <<C
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: $POD_CIDR
clientConnection: {kubeconfig: $dir/pki/kube-proxy.kubeconfig}
hostnameOverride: $node
oomScoreAdj: 0
bindAddress: $ip
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
C
  program_start "$dir" "$node" kube-proxy "$BIN/kube-proxy" --config="$home/kube-proxy.yaml"
}

# Pods of a node are on a bridge of their own; the cluster's router knows which node has which.
node_network() {
  local dir=$1 node=$2 ip=$3 cidr=$4
  # Written once, in one go: containerd notices writes, but not a file that is moved here, and reads what is there then.
  [ -e "$dir/$node/cni/10-bridge.conflist" ] || cat > "$dir/$node/cni/10-bridge.conflist" <<C
{"cniVersion": "1.0.0", "name": "kvass-e2e", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": "$cidr"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
C
  in_machine "$dir" control ip route replace "$cidr" via "$ip"
}

# connections DIR: what the nodes' kernels know of connections; a line each, the same in both forms but for its beginning.
connections() {
  local dir=$1 home pid
  for home in "$dir"/node*/; do
    # A node that has crashed has none.
    pid=$(machine_pid "$dir" "$(basename "$home")") || continue
    if [ -e "/proc/$pid/net/nf_conntrack" ]; then
      cat "/proc/$pid/net/nf_conntrack"
    else
      nsenter -t "$pid" --net conntrack -L 2>/dev/null
    fi
  done
}
