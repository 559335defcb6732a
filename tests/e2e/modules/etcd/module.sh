programs=(etcd)
packages=(go.etcd.io/etcd/server/v3)
