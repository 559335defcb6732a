programs=(prometheus-2.42)
packages=(./cmd/prometheus)
# It is built in its own module: there its libraries' logs are replaced, without which it does not compile.
inside=github.com/prometheus/prometheus
own=(plugins.go:plugins/plugins.go)
# The module v0.42.0 is the release 2.42.0.
ldflags="-X github.com/prometheus/common/version.Version=2.42.0"
