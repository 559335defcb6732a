# etcd, kube-apiserver, kube-controller-manager, kube-scheduler on the machine `control`; sourced by cluster.sh.

# certificate DIR NAME COMMON_NAME [ORGANIZATION [ALTERNATIVE_NAMES]]
certificate() {
  local file=$1/pki/$2 subject="/CN=$3"
  if [ -n "${4:-}" ]; then subject="/O=$4/CN=$3"; fi
  openssl ecparam -name prime256v1 -genkey -noout -out "$file.key"
  openssl req -new -key "$file.key" -subj "$subject" -out "$file.csr"
  openssl x509 -req -in "$file.csr" -CA "$1/pki/ca.crt" -CAkey "$1/pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days 30 -out "$file.crt" \
    -extfile <(echo "keyUsage=critical,digitalSignature,keyEncipherment"; echo "extendedKeyUsage=clientAuth,serverAuth"
      if [ -n "${5:-}" ]; then echo "subjectAltName=$5"; fi) 2>/dev/null
  rm "$file.csr"
}

authority() {
  mkdir -p "$1/pki"
  openssl ecparam -name prime256v1 -genkey -noout -out "$1/pki/ca.key"
  openssl req -x509 -new -key "$1/pki/ca.key" -subj /CN=kvass-e2e -days 30 -out "$1/pki/ca.crt"
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1/pki/service-account.key" 2>/dev/null
  openssl pkey -in "$1/pki/service-account.key" -pubout -out "$1/pki/service-account.pub"
}

# kubeconfig DIR NAME: for the certificate NAME; complete in itself.
kubeconfig() {
  local pki=$1/pki
  cat > "$pki/$2.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: kvass-e2e, cluster: {server: "https://$HOST_IP:6443", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}]
users: [{name: $2, user: {client-certificate-data: $(base64 -w0 "$pki/$2.crt"), client-key-data: $(base64 -w0 "$pki/$2.key")}}]
contexts: [{name: $2, context: {cluster: kvass-e2e, user: $2}}]
current-context: $2
K
}

# kubectl DIR ARGUMENTS…: as admin.
kubectl() { in_machine "$1" control "$BIN/kubectl" --kubeconfig "$1/pki/admin.kubeconfig" "${@:2}"; }

control_plane_up() {
  local dir=$1 run begin=$SECONDS pki=$1/pki user
  run=$(basename "$dir")
  mkdir -p "$dir/volumes" "$dir/control"
  chmod 0777 "$dir/volumes"
  authority "$dir"
  certificate "$dir" apiserver kube-apiserver "" "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$HOST_IP,IP:$SERVICE_API"
  certificate "$dir" admin admin system:masters
  certificate "$dir" controller-manager system:kube-controller-manager
  certificate "$dir" scheduler system:kube-scheduler
  certificate "$dir" kube-proxy system:kube-proxy
  certificate "$dir" kubelet-client kube-apiserver-kubelet-client system:masters
  certificate "$dir" front-proxy front-proxy
  for user in admin controller-manager scheduler kube-proxy; do kubeconfig "$dir" $user; done

  # The bridge is the cluster's network and its router; the default route to nowhere is for programs that look for one.
  # The host path provisioner knows no other folder than this.
  machine_start "$run" "$dir" control "
    ip link set lo up; ip link add br0 type bridge; ip address add $HOST_IP/24 dev br0; ip link set br0 up; ip route add default dev br0
    echo 1 > /proc/sys/net/ipv4/ip_forward
    mkdir -p /tmp/hostpath_pv; mount --bind '$dir/volumes' /tmp/hostpath_pv"

  # Its data need not survive the machine.
  program_start "$dir" control etcd "$BIN/etcd" --name e2e --data-dir "$dir/control/etcd" --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster e2e=http://127.0.0.1:2380
  # Times are short, so that the loss of a node is told in seconds: unready after 12 s, its pods evicted 5 s later.
  program_start "$dir" control kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --advertise-address=$HOST_IP --bind-address=0.0.0.0 --secure-port=6443 \
    --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" --kubelet-certificate-authority="$pki/ca.crt" \
    --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file="$pki/service-account.pub" --service-account-signing-key-file="$pki/service-account.key" \
    --service-cluster-ip-range=$SERVICE_CIDR --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User \
    --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" \
    --audit-policy-file="$HERE/audit-policy.yaml" --audit-log-path="$dir/audit.log" --audit-log-mode=batch --audit-log-batch-max-wait=1s \
    --default-not-ready-toleration-seconds=5 --default-unreachable-toleration-seconds=5 \
    --allow-privileged=true
  wait_for 90 "ready API server" kubectl "$dir" get --raw /readyz
  program_start "$dir" control kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$pki/controller-manager.kubeconfig" \
    --authentication-kubeconfig="$pki/controller-manager.kubeconfig" --authorization-kubeconfig="$pki/controller-manager.kubeconfig" \
    --bind-address=127.0.0.1 --root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/service-account.key" --use-service-account-credentials=true \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --allocate-node-cidrs=true --cluster-cidr=$POD_CIDR --service-cluster-ip-range=$SERVICE_CIDR --leader-elect=false \
    --node-monitor-period=1s --node-monitor-grace-period=12s --enable-hostpath-provisioner=true
  # The provisioner makes folders that only root may enter, and host path volumes know no fsGroup.
  # shellcheck disable=SC2016
  program_start "$dir" control open-volumes bash -c 'while :; do chmod -f 0777 /tmp/hostpath_pv/*/; sleep 0.2; done'
  program_start "$dir" control kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$pki/scheduler.kubeconfig" \
    --authentication-kubeconfig="$pki/scheduler.kubeconfig" --authorization-kubeconfig="$pki/scheduler.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false
  wait_for 60 "default service account" kubectl "$dir" -n default get serviceaccount default
  say "control plane up after $((SECONDS - begin)) s"
}
