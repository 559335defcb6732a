// Command textparse judges scrape bodies with the parsers and the checks of Prometheus.
//
// It reads requests from standard input: one byte of switches, the length of the content type and of the body as
// four bytes each (big endian), content type, body. It answers each with a line: "ok" and the number of samples, or "bad" and why.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

const (
	native = 1 << iota
	keepClassic
	convert
)

func main() {
	in := bufio.NewReader(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	var head [9]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		contentType := make([]byte, binary.BigEndian.Uint32(head[1:5]))
		body := make([]byte, binary.BigEndian.Uint32(head[5:9]))
		for _, part := range [][]byte{contentType, body} {
			if _, err := io.ReadFull(in, part); err != nil {
				fmt.Fprintln(os.Stderr, "textparse: request cut off:", err)
				os.Exit(1)
			}
		}
		samples, err := judge(body, string(contentType), head[0])
		if err != nil {
			fmt.Fprintln(out, "bad", strings.Join(strings.Fields(fmt.Sprintf("%q", err)), " "))
		} else {
			fmt.Fprintln(out, "ok", samples)
		}
		out.Flush()
	}
}

func judge(body []byte, contentType string, switches byte) (samples int, err error) {
	// A parser that panics takes the whole server down; it does not take the body.
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	if len(body) == 0 {
		return 0, nil
	}
	parser, err := textparse.New(body, contentType, labels.NewSymbolTable(), textparse.ParserOptions{
		IgnoreNativeHistograms:                  switches&native == 0,
		KeepClassicOnClassicAndNativeHistograms: switches&keepClassic != 0,
		ConvertClassicHistogramsToNHCB:          switches&convert != 0,
	})
	if parser == nil {
		return 0, err
	}
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return samples, nil
		}
		if err != nil {
			return samples, err
		}
		switch entry {
		case textparse.EntrySeries:
			parser.Series()
		case textparse.EntryHistogram:
			_, _, integers, floats := parser.Histogram()
			if integers != nil {
				err = integers.Validate()
			} else if floats != nil {
				err = floats.Validate()
			}
		default:
			continue
		}
		samples++
		if err == nil {
			err = check(parser)
		}
		if err != nil {
			return samples, err
		}
	}
}

// check does what happens to labels on their way into the storage.
func check(parser textparse.Parser) error {
	var exposed labels.Labels
	parser.Labels(&exposed)
	stored := labels.NewBuilder(exposed).Labels()
	if stored.IsEmpty() {
		return nil
	}
	if !stored.Has(labels.MetricName) {
		return errors.New("no metric name")
	}
	if !stored.IsValid(model.UTF8Validation) {
		return errors.New("illegal name")
	}
	if name, repeated := stored.HasDuplicateLabelNames(); repeated {
		return fmt.Errorf("repeated label %q", name)
	}
	return nil
}
