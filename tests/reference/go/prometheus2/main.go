// Regular expressions and relabelling of Prometheus 2.42; see package wire.
package main

import (
	"errors"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"gopkg.in/yaml.v2"

	"kvass.test/reference/wire"
)

func main() {
	wire.Serve(wire.Prometheus{
		Anchored: func(pattern string) (wire.Regexp, error) { return relabel.NewRegexp(pattern) },
		Rules:    rules,
	})
}

// Rules are validated where they are read; names of labels have no scheme.
func rules(text string, _ bool) (wire.Process, error) {
	var rules []*relabel.Config
	if err := yaml.UnmarshalStrict([]byte(text), &rules); err != nil {
		return nil, err
	}
	for _, rule := range rules {
		if rule == nil {
			return nil, errors.New("a rule is null")
		}
	}
	return func(start, set []wire.Label) ([]wire.Label, bool) {
		var all []labels.Label
		for _, label := range append(start, set...) {
			// Prometheus leaves out labels without value before it relabels.
			if label.Value != "" {
				all = append(all, labels.Label{Name: label.Name, Value: label.Value})
			}
		}
		kept, keep := relabel.Process(labels.New(all...), rules...)
		if !keep {
			return nil, false
		}
		var result []wire.Label
		kept.Range(func(label labels.Label) {
			result = append(result, wire.Label{Name: label.Name, Value: label.Value})
		})
		return result, true
	}, nil
}
