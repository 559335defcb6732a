programs=(operator prometheus-config-reloader)
packages=(
  github.com/prometheus-operator/prometheus-operator/cmd/operator
  github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader
)
files=(github.com/prometheus-operator/prometheus-operator:bundle.yaml:operator-bundle.yaml)
ldflags="-X github.com/prometheus/common/version.Version=$(required github.com/prometheus-operator/prometheus-operator | tr -d v)"
