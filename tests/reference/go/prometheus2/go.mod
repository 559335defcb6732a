module kvass.test/reference/prometheus2

go 1.26.0

require (
	github.com/prometheus/prometheus v0.42.0
	gopkg.in/yaml.v2 v2.4.0
	kvass.test/reference/wire v0.0.0
)

require (
	github.com/cespare/xxhash/v2 v2.2.0 // indirect
	github.com/grafana/regexp v0.0.0-20221122212121-6b5c0a4cb7fd // indirect
	github.com/kr/pretty v0.3.1 // indirect
	github.com/prometheus/common v0.39.0 // indirect
)

replace kvass.test/reference/wire => ../wire
