programs=(vmagent)
packages=(github.com/VictoriaMetrics/VictoriaMetrics/app/vmagent)
# 1.151 is the last version that Go 1.26 builds.
ldflags="-X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=vmagent-$(required github.com/VictoriaMetrics/VictoriaMetrics)"
