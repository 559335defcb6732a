programs=(consul-agent)
packages=(.)
