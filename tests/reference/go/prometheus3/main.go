// Regular expressions and relabelling of Prometheus 3.16; see package wire.
package main

import (
	"errors"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v2"

	"kvass.test/reference/wire"
)

func main() {
	wire.Serve(wire.Prometheus{
		Anchored: func(pattern string) (wire.Regexp, error) { return relabel.NewRegexp(pattern) },
		Rules:    rules,
	})
}

func rules(text string, utf8Names bool) (wire.Process, error) {
	var rules []*relabel.Config
	if err := yaml.UnmarshalStrict([]byte(text), &rules); err != nil {
		return nil, err
	}
	scheme := model.LegacyValidation
	if utf8Names {
		scheme = model.UTF8Validation
	}
	for _, rule := range rules {
		if rule == nil {
			return nil, errors.New("a rule is null")
		}
		if err := rule.Validate(scheme); err != nil {
			return nil, err
		}
	}
	return func(start, set []wire.Label) ([]wire.Label, bool) {
		scratch := labels.NewScratchBuilder(len(start))
		for _, label := range start {
			scratch.Add(label.Name, label.Value)
		}
		scratch.Sort()
		builder := labels.NewBuilder(scratch.Labels())
		for _, label := range set {
			builder.Set(label.Name, label.Value)
		}
		if !relabel.ProcessBuilder(builder, rules...) {
			return nil, false
		}
		var result []wire.Label
		builder.Labels().Range(func(label labels.Label) {
			result = append(result, wire.Label{Name: label.Name, Value: label.Value})
		})
		return result, true
	}, nil
}
