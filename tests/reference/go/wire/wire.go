// Package wire answers batches of questions about regular expressions and relabel rules on standard input.
//
// A batch and its answer are frames: a length of four bytes and so many bytes. In them a number is four bytes, little
// endian; a text is its length and its bytes. Questions follow each other without anything in between:
//
//	'r', 'a' anchored as in a rule or 'p' plain; the pattern; a list of texts
//	'l', 'l' legacy names or 'u' UTF-8 names; the rules in YAML; a list of label sets, each two lists of names and
//	values: what the set starts with, and what is set afterwards
//
// A list is its length and its items. The answer begins with a text, the reason of a refusal or empty. If it is empty,
// there follow
//
//	'r': the list of the groups' names; for each text 1 and the bounds of each group, -1 for none, or 0 for no match
//	'l': for each label set 1 and the list of names and values, or 0 if dropped
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
)

// Regexp is a compiled expression of whichever package Prometheus uses.
type Regexp interface {
	SubexpNames() []string
	FindStringSubmatchIndex(text string) []int
}

// Label is a name and its value.
type Label struct{ Name, Value string }

// Prometheus is one of its versions.
type Prometheus struct {
	// Anchored compiles the regex of a rule.
	Anchored func(pattern string) (Regexp, error)
	// Rules reads rules as the configuration file has them.
	Rules func(yaml string, utf8Names bool) (Process, error)
}

// Process applies rules to labels; false means dropped.
type Process func(start, set []Label) ([]Label, bool)

// Serve answers until standard input ends.
func Serve(prometheus Prometheus) {
	if err := serve(prometheus, bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(prometheus Prometheus, in *bufio.Reader, out *bufio.Writer) error {
	var size [4]byte
	for {
		if _, err := io.ReadFull(in, size[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		batch := make([]byte, binary.LittleEndian.Uint32(size[:]))
		if _, err := io.ReadFull(in, batch); err != nil {
			return err
		}
		questions, answers := reader{rest: batch}, writer{}
		for len(questions.rest) > 0 {
			switch kind := questions.byte(); kind {
			case 'r':
				answerRegexp(prometheus, &questions, &answers)
			case 'l':
				answerRules(prometheus, &questions, &answers)
			default:
				return fmt.Errorf("a question begins with %q", kind)
			}
		}
		binary.LittleEndian.PutUint32(size[:], uint32(len(answers.bytes)))
		out.Write(size[:])
		out.Write(answers.bytes)
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

func answerRegexp(prometheus Prometheus, questions *reader, answers *writer) {
	compile := prometheus.Anchored
	if questions.byte() == 'p' {
		compile = func(pattern string) (Regexp, error) { return regexp.Compile(pattern) }
	}
	compiled, err := compile(questions.text())
	answers.refusal(err)
	if err == nil {
		names := compiled.SubexpNames()
		answers.number(len(names))
		for _, name := range names {
			answers.text(name)
		}
	}
	for range questions.number() {
		text := questions.text()
		if err != nil {
			continue
		}
		bounds := compiled.FindStringSubmatchIndex(text)
		answers.bool(bounds != nil)
		for _, bound := range bounds {
			answers.number(bound)
		}
	}
}

func answerRules(prometheus Prometheus, questions *reader, answers *writer) {
	utf8Names := questions.byte() == 'u'
	process, err := prometheus.Rules(questions.text(), utf8Names)
	answers.refusal(err)
	for range questions.number() {
		start, set := questions.labels(), questions.labels()
		if err != nil {
			continue
		}
		labels, keep := process(start, set)
		answers.bool(keep)
		if keep {
			answers.number(len(labels))
			for _, label := range labels {
				answers.text(label.Name)
				answers.text(label.Value)
			}
		}
	}
}

// reader takes a batch apart. A batch that is cut short is a mistake of the asker, and ends the program.
type reader struct{ rest []byte }

func (r *reader) take(count int) []byte {
	taken := r.rest[:count]
	r.rest = r.rest[count:]
	return taken
}

func (r *reader) byte() byte   { return r.take(1)[0] }
func (r *reader) number() int  { return int(binary.LittleEndian.Uint32(r.take(4))) }
func (r *reader) text() string { return string(r.take(r.number())) }

func (r *reader) labels() []Label {
	labels := make([]Label, r.number())
	for i := range labels {
		labels[i] = Label{r.text(), r.text()}
	}
	return labels
}

type writer struct{ bytes []byte }

func (w *writer) number(n int) {
	w.bytes = binary.LittleEndian.AppendUint32(w.bytes, uint32(int32(n)))
}

func (w *writer) text(text string) {
	w.number(len(text))
	w.bytes = append(w.bytes, text...)
}

func (w *writer) bool(value bool) {
	if value {
		w.bytes = append(w.bytes, 1)
	} else {
		w.bytes = append(w.bytes, 0)
	}
}

func (w *writer) refusal(err error) {
	if err == nil {
		w.text("")
	} else {
		w.text(err.Error())
	}
}
