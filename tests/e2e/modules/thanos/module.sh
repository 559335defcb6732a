programs=(thanos)
packages=(github.com/thanos-io/thanos/cmd/thanos)
# Without this tag the sidecar compiles, and panics at its first reply.
tags=slicelabels
ldflags="-X github.com/prometheus/common/version.Version=$(required github.com/thanos-io/thanos | tr -d v)"
