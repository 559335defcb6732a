// Package plugins names the discovery mechanisms of the program, in the place of Prometheus' own list: that takes longer
// to build than all the rest.
package plugins

import _ "github.com/prometheus/prometheus/discovery/kubernetes"
