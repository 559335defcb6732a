module kvass.test/e2e/prometheus2

go 1.26.0

require github.com/prometheus/prometheus v0.42.0
