programs=(prometheus promtool)
packages=(github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool)
# Not every discovery mechanism's client can be had; these are the ones the stories may use.
tags=remove_all_sd,enable_kubernetes_sd,enable_dns_sd,enable_consul_sd,enable_eureka_sd,enable_marathon_sd,enable_puppetdb_sd,enable_zookeeper_sd,enable_moby_sd
# The module v0.316.0 is the release 3.16.0.
version=$(required github.com/prometheus/prometheus)
version=${version#v0.3} patch=${version#*.} version=${version%%.*}
ldflags="-X github.com/prometheus/common/version.Version=3.$((10#$version)).$patch"
