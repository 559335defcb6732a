programs=(coredns)
packages=(.)
