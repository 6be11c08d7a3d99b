// Package yamledit changes one key of a YAML text and leaves all else as it is written, comments
// and order too.
package yamledit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/fds-sdk/fds-go/internal/textfile"
)

// ErrForm says that a key stands in a text in a form that Set leaves alone.
var ErrForm = errors.New("it stands there in a form that only a person should change")

// Set returns a text in which a key, below the sections that are named before it, has a value, or
// with nil is missing. A new key comes behind the last one that before says is to come earlier. The
// text is cut where the parser says that a value stands, and parsed again, to see that nothing else
// means another thing now.
func Set(data []byte, path []string, value *yaml.Node, before func(a, b string) bool) ([]byte, error) {
	text, err := textfile.Text(data)
	if err != nil {
		return nil, err
	}
	e := &editor{text: string(text), newline: "\n", before: before}
	if strings.Contains(e.text, "\r\n") {
		e.newline = "\r\n"
	}
	old, err := meaningOf(e.text)
	if err != nil {
		return nil, err
	}
	var whole yaml.Node
	if err := yaml.Unmarshal(text, &whole); err != nil {
		return nil, err
	}
	if len(whole.Content) == 0 { // nothing but comments
		if value != nil {
			e.append(path, value)
		}
	} else if err := e.set(whole.Content[0], nil, path, value); err != nil {
		return nil, err
	}
	want, err := changed(old, path, value)
	if err != nil {
		return nil, err
	}
	if after, err := meaningOf(e.text); err != nil || !reflect.DeepEqual(after, want) {
		return nil, ErrForm
	}
	return append(bytes.Clone(data[:len(data)-len(text)]), e.text...), nil // behind a byte order mark
}

// meaningOf is what a text of YAML holds; sections without keys are left out.
func meaningOf(text string) (map[string]any, error) {
	var all map[string]any
	if err := yaml.NewDecoder(strings.NewReader(text)).Decode(&all); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	prune(all)
	return all, nil
}

func prune(section map[string]any) {
	for name, value := range section {
		below, isSection := value.(map[string]any)
		if isSection {
			prune(below)
		}
		if value == nil || isSection && len(below) == 0 {
			delete(section, name)
		}
	}
}

// changed is what a text holds once the key is set.
func changed(section map[string]any, path []string, value *yaml.Node) (map[string]any, error) {
	if section == nil {
		section = make(map[string]any)
	}
	if len(path) > 1 {
		below, _ := section[path[0]].(map[string]any)
		below, err := changed(below, path[1:], value)
		section[path[0]] = below
		prune(section)
		return section, err
	}
	delete(section, path[0])
	if value != nil {
		var v any
		if err := value.Decode(&v); err != nil {
			return nil, err
		}
		section[path[0]] = v
		prune(section)
	}
	return section, nil
}

// editor changes a text in one place.
type editor struct {
	text    string
	newline string
	before  func(a, b string) bool
}

// at is the offset of a node, whose column counts characters.
func (e *editor) at(n *yaml.Node) int {
	offset := 0
	for range n.Line - 1 {
		offset += strings.IndexByte(e.text[offset:], '\n') + 1
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRuneInString(e.text[offset:])
		offset += size
	}
	return offset
}

// lineEnd is the end of the line that holds an offset, without its break.
func (e *editor) lineEnd(offset int) int {
	end := strings.IndexByte(e.text[offset:], '\n')
	if end < 0 {
		return len(e.text)
	}
	if end += offset; end > 0 && e.text[end-1] == '\r' {
		end--
	}
	return end
}

func (e *editor) replace(from, to int, with string) { e.text = e.text[:from] + with + e.text[to:] }

// set sets a key below a section, whose own key is named.
func (e *editor) set(section, name *yaml.Node, path []string, value *yaml.Node) error {
	if section.Anchor != "" || section.Kind == yaml.AliasNode {
		return ErrForm
	}
	if section.Kind != yaml.MappingNode {
		if section.Tag != "!!null" || section.Value != "" || name == nil {
			return ErrForm
		}
		if value != nil { // a section of nothing
			end := e.lineEnd(e.at(name))
			e.replace(end, end, e.newline+e.lines(path, value, name.Column+1))
		}
		return nil
	}
	for i := 0; i+1 < len(section.Content); i += 2 {
		key, old := section.Content[i], section.Content[i+1]
		switch {
		case key.Value != path[0]:
			continue
		case len(path) > 1:
			return e.set(old, key, path[1:], value)
		case value == nil:
			return e.remove(section, i)
		}
		return e.put(section, key, old, value)
	}
	if value == nil {
		return nil
	}
	return e.insert(section, path, value)
}

func isFlow(section *yaml.Node) bool { return section.Style&yaml.FlowStyle != 0 }

// put replaces the value of a key.
func (e *editor) put(section, key, old, value *yaml.Node) error {
	text, err := Inline(value, isFlow(section))
	if err != nil {
		return err
	}
	colon, err := e.colon(key)
	if err != nil {
		return err
	}
	from, to := e.span(section, key, old)
	switch {
	case old.Anchor != "":
		return ErrForm
	case from == to: // nothing
		e.replace(colon, colon, " "+text)
	case old.Kind != yaml.ScalarNode && !isFlow(old) && old.Kind != yaml.AliasNode: // below the key
		end := e.lineEnd(colon)
		e.replace(end, to, "")
		e.replace(colon, colon, " "+text)
	case old.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		end := e.lineEnd(from)
		e.replace(end, to, "")
		e.replace(from, e.plainEnd(from, false), text)
	default:
		e.replace(from, to, text)
	}
	return nil
}

// colon is the offset behind the colon of a key.
func (e *editor) colon(key *yaml.Node) (int, error) {
	at := e.at(key)
	switch key.Style {
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		at = e.quotedEnd(at)
	default:
		at += len(key.Value)
	}
	for at < len(e.text) && e.text[at] == ' ' {
		at++
	}
	if at >= len(e.text) || e.text[at] != ':' {
		return 0, ErrForm
	}
	return at + 1, nil
}

// span is where a value stands; from is to where there is none.
func (e *editor) span(section, key, value *yaml.Node) (from, to int) {
	from = e.at(value)
	if value.Kind == yaml.ScalarNode && value.Value == "" && value.Style == 0 {
		return from, from
	}
	switch {
	case value.Kind == yaml.ScalarNode && value.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return from, e.quotedEnd(from)
	case value.Kind != yaml.ScalarNode && isFlow(value):
		return from, e.flowEnd(from)
	case value.Kind == yaml.AliasNode, value.Kind == yaml.ScalarNode && value.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0:
		return from, e.plainEnd(from, isFlow(section))
	}
	return from, e.blockEnd(key, value)
}

// quotedEnd is the offset behind the text in quotes at an offset.
func (e *editor) quotedEnd(at int) int {
	quote := e.text[at]
	for i := at + 1; i < len(e.text); i++ {
		switch {
		case e.text[i] == '\\' && quote == '"':
			i++
		case e.text[i] == quote && quote == '\'' && strings.HasPrefix(e.text[i+1:], "'"):
			i++
		case e.text[i] == quote:
			return i + 1
		}
	}
	return len(e.text)
}

// flowEnd is the offset behind the brackets at an offset.
func (e *editor) flowEnd(at int) int {
	depth := 0
	for i := at; i < len(e.text); i++ {
		switch c := e.text[i]; {
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case (c == '"' || c == '\'') && strings.IndexByte(" \t\r\n[{,:", e.text[i-1]) >= 0:
			i = e.quotedEnd(i) - 1
		case c == '#' && strings.IndexByte(" \t\r\n", e.text[i-1]) >= 0:
			i = e.lineEnd(i) - 1
		}
	}
	return len(e.text)
}

// plainEnd is the offset behind the word at an offset, which ends with its line.
func (e *editor) plainEnd(at int, flow bool) int {
	end := e.lineEnd(at)
	for i := at; i < end; i++ {
		if e.text[i] == '#' && i > at && (e.text[i-1] == ' ' || e.text[i-1] == '\t') || flow && strings.IndexByte(",]}", e.text[i]) >= 0 {
			end = i
			break
		}
	}
	return at + len(strings.TrimRight(e.text[at:end], " \t"))
}

// blockEnd is the end of the last line of a value that stands below its key.
func (e *editor) blockEnd(key, value *yaml.Node) int {
	end := e.lineEnd(e.at(key))
	indent := key.Column - 1
	for next := e.next(end); next < len(e.text); next = e.next(e.lineEnd(next)) {
		line := strings.TrimRight(e.text[next:e.lineEnd(next)], " \t")
		words := strings.TrimLeft(line, " ")
		depth := len(line) - len(words)
		below := depth > indent || depth == indent && value.Kind == yaml.SequenceNode && strings.HasPrefix(words+" ", "- ")
		if words == "" {
			continue
		}
		if !below {
			break
		}
		end = e.lineEnd(next)
	}
	return end
}

// next is the beginning of the line behind the one that ends at an offset.
func (e *editor) next(end int) int {
	if at := strings.IndexByte(e.text[end:], '\n'); at >= 0 {
		return end + at + 1
	}
	return len(e.text)
}

// insert puts a new key into a section: behind the one that the reference has before it, or at the
// end.
func (e *editor) insert(section *yaml.Node, path []string, value *yaml.Node) error {
	last := len(section.Content) - 2
	if isFlow(section) {
		one, err := Inline(flowOf(path, value), true)
		if err != nil {
			return err
		}
		one = strings.TrimSuffix(strings.TrimPrefix(one, "{"), "}")
		if last < 0 {
			at := e.at(section)
			e.replace(at, e.flowEnd(at), "{"+one+"}")
			return nil
		}
		_, end := e.span(section, section.Content[last], section.Content[last+1])
		e.replace(end, end, ", "+one)
		return nil
	}
	for i := last; i >= 0; i -= 2 {
		if e.before(section.Content[i].Value, path[0]) {
			last = i
			break
		}
	}
	key, old := section.Content[last], section.Content[last+1]
	from, end := e.span(section, key, old)
	if from == end {
		end = e.at(key)
	}
	end = e.lineEnd(end)
	e.replace(end, end, e.newline+e.lines(path, value, key.Column-1))
	return nil
}

// append writes a key at the end of a text without any.
func (e *editor) append(path []string, value *yaml.Node) {
	if e.text != "" && !strings.HasSuffix(e.text, "\n") {
		e.text += e.newline
	}
	e.text += e.lines(path, value, 0) + e.newline
}

// lines are a key below the sections that are named, indented by so many spaces.
func (e *editor) lines(path []string, value *yaml.Node, indent int) string {
	var lines []string
	for i, name := range path {
		name, err := Inline(Text(name), false)
		if err != nil {
			name = "?" // which the check of the whole refuses
		}
		line := strings.Repeat(" ", indent+2*i) + name + ":"
		if i == len(path)-1 {
			text, err := Inline(value, false)
			if err != nil {
				text = "?"
			}
			line += " " + text
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, e.newline)
}

// remove takes a key out, with its line where it has one of its own.
func (e *editor) remove(section *yaml.Node, i int) error {
	key, old := section.Content[i], section.Content[i+1]
	from := e.at(key)
	_, to := e.span(section, key, old)
	if isFlow(section) {
		switch {
		case i+2 < len(section.Content):
			to = e.at(section.Content[i+2])
		case i > 0:
			_, from = e.span(section, section.Content[i-2], section.Content[i-1])
		}
		e.replace(from, to, "")
		return nil
	}
	start := strings.LastIndexByte(e.text[:from], '\n') + 1
	if strings.TrimSpace(e.text[start:from]) != "" {
		return ErrForm
	}
	e.replace(start, e.next(e.lineEnd(max(to, from))), "")
	return nil
}

// Text is a value that is a text.
func Text(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	if strings.Contains(text, "\n") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// flowOf is a value below sections, in braces.
func flowOf(path []string, value *yaml.Node) *yaml.Node {
	for _, name := range slices.Backward(path) {
		value = &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle, Content: []*yaml.Node{Text(name), value}}
	}
	return value
}

// Inline is a value in one line; inFlow: among others in brackets.
func Inline(value *yaml.Node, inFlow bool) (string, error) {
	if inFlow && value.Kind == yaml.ScalarNode && value.Style == 0 && strings.ContainsAny(value.Value, ",[]{}") {
		quoted := *value
		quoted.Style, value = yaml.DoubleQuotedStyle, &quoted
	}
	text, err := yaml.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("the value cannot be written as YAML: %w", err)
	}
	line := strings.TrimSuffix(string(text), "\n")
	if strings.Contains(line, "\n") {
		return "", ErrForm
	}
	return line, nil
}
