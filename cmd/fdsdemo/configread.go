package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

// document is a configuration file as it was read.
type document struct {
	path   string
	data   []byte
	shared string     // why others may write the file; "": they may not
	root   *yaml.Node // a mapping
	file   configFile
	keys   []keyLine
	faults []fileFault
	torn   bool // a value could not be read, so that what else is wrong cannot be told
}

// keyLine is where a key stands.
type keyLine struct {
	key   string
	line  int
	value *yaml.Node
}

// fileFault is one thing that is wrong with a file.
type fileFault struct {
	line  int // 0: none in particular
	text  string
	unset bool // a variable is not set here, which may be where the file is used
}

// faultsError is everything that is wrong with a configuration file.
type faultsError struct {
	path   string // "": of none that is there
	faults []fileFault
}

// lines are the faults, each as editors read where it is.
func (e *faultsError) lines() []string {
	var lines []string
	for _, f := range e.faults {
		place := e.path
		if f.line > 0 {
			place += ":" + strconv.Itoa(f.line)
		}
		if place != "" {
			place += ": "
		}
		lines = append(lines, place+f.text)
	}
	return lines
}

func (e *faultsError) Error() string { return strings.Join(e.lines(), "; ") }

func (e *faultsError) Is(target error) bool { return target == errUsage }

// readDocument reads the file at path.
func readDocument(path string) (*document, error) {
	file, err := textfile.Read(path, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wrongUsage("there is no configuration at %s; make one with: fdsdemo init, name another with --config, or run: fdsdemo provider --dir DIR, which writes DIR/%s", path, configName)
	}
	if err != nil {
		return nil, wrongUsage("the configuration cannot be read: %v", err)
	}
	d, err := parseDocument(path, file.Data)
	if err != nil {
		return nil, err
	}
	d.shared = file.ChangeableByOthers(quoted(path))
	return d, nil
}

// parseDocument reads a configuration. What is wrong with its form is in the document's faults, if
// it has one at all.
func parseDocument(path string, data []byte) (*document, error) {
	d := &document{path: path, data: data}
	var whole yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data)) // it takes a byte order mark, and UTF-16
	switch err := decoder.Decode(&whole); {
	case errors.Is(err, io.EOF):
		return nil, wrongUsage("%s is empty", path)
	case err != nil:
		return nil, &faultsError{path, []fileFault{syntaxFault(err, data)}}
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, &faultsError{path, []fileFault{{line: second.Line, text: "here begins more than one YAML document; a configuration is one"}}}
	}
	d.root = whole.Content[0]
	var wrong *yaml.TypeError
	if err := d.root.Decode(&d.file); err != nil && !errors.As(err, &wrong) { // a key that holds itself, for one
		return nil, &faultsError{path, []fileFault{syntaxFault(err, data)}}
	}
	d.walk("", d.root, reflect.TypeFor[configFile]())
	if wrong != nil {
		d.torn = true
		for _, text := range wrong.Errors {
			d.faults = append(d.faults, d.typeFault(text))
		}
	}
	slices.SortStableFunc(d.faults, func(a, b fileFault) int { return cmp.Compare(a.line, b.line) })
	return d, nil
}

// readConfigFile reads the file at path; the error names what is wrong with its form.
func readConfigFile(path string) (configFile, error) {
	d, err := readDocument(path)
	if err != nil {
		return configFile{}, err
	}
	if len(d.faults) > 0 {
		return d.file, &faultsError{path, d.faults}
	}
	return d.file, nil
}

// walk notes where keys stand, and those that there are not.
func (d *document) walk(prefix string, section *yaml.Node, form reflect.Type) {
	if section.Kind == yaml.AliasNode {
		section = section.Alias
	}
	if section.Kind != yaml.MappingNode {
		return // which the decoder tells, or it is empty
	}
	fields := make(map[string]reflect.Type)
	var names []string
	for i := range form.NumField() {
		name, _, _ := strings.Cut(form.Field(i).Tag.Get("yaml"), ",")
		fields[name], names = form.Field(i).Type, append(names, name)
	}
	for i := 0; i+1 < len(section.Content); i += 2 {
		name, value := section.Content[i], section.Content[i+1]
		below, known := fields[name.Value]
		switch {
		case name.Tag == "!!merge":
			d.walk(prefix, value, form)
			continue
		case !known:
			d.faults = append(d.faults, fileFault{line: name.Line, text: fmt.Sprintf("unknown key %q%s", terminal.Short(prefix+name.Value), d.meant(prefix, name.Value, names))})
			continue
		}
		d.keys = append(d.keys, keyLine{prefix + name.Value, name.Line, value})
		switch kindOf(below) {
		case kindSection:
			d.walk(prefix+name.Value+".", value, below)
		case kindTexts:
			for j := 0; value.Kind == yaml.MappingNode && j+1 < len(value.Content); j += 2 {
				d.keys = append(d.keys, keyLine{prefix + name.Value + "." + value.Content[j].Value, value.Content[j].Line, value.Content[j+1]})
			}
		}
	}
}

// meant suggests one of the names of the section, or where a key of that name belongs.
func (d *document) meant(prefix, name string, names []string) string {
	if best := closest(name, names); best != "" {
		return suggested(prefix + best)
	}
	return meantKey(name, settingKeys())
}

// lineOf returns the line of the key with which a text begins; 0: it is not in the file.
func (d *document) lineOf(text string) int {
	return d.line(keyOf(text))
}

// keyOf is the key with which a text begins.
func keyOf(text string) string {
	if end := strings.IndexFunc(text, func(c rune) bool { return c == ' ' || c == ':' || c == ',' }); end >= 0 {
		return text[:end]
	}
	return text
}

// sectionLine is the line of the section in which the key is missing with which a text begins.
func (d *document) sectionLine(text string) int {
	section, _, _ := strings.Cut(text, ".")
	return d.line(section)
}

// mentioned is the line of the first key of the file that a text names.
func (d *document) mentioned(text string) int {
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || c == ',' || c == ';' || c == ':' || c == '(' || c == ')' }) {
		if line := d.line(word); line > 0 && strings.Contains(word, ".") {
			return line
		}
	}
	return 0
}

// asGiven has a text name the place of a secret that the file has, where it names the file of one.
func (d *document) asGiven(text string) string {
	for _, name := range secretNames {
		if !strings.Contains(text, name+"_file") || d.find(name+"_file") != nil {
			continue
		}
		for _, way := range secretWays[1:] {
			if d.find(name+way) != nil {
				return strings.ReplaceAll(text, name+"_file", name+way)
			}
		}
	}
	return text
}

func (d *document) line(key string) int {
	if at := d.find(key); at != nil {
		return at.line
	}
	return 0
}

// find returns where a key stands; nil: nowhere.
func (d *document) find(key string) *keyLine {
	if i := slices.IndexFunc(d.keys, func(k keyLine) bool { return k.key == key }); i >= 0 {
		return &d.keys[i]
	}
	return nil
}

var (
	wrongKind = regexp.MustCompile(`(?s)^line (\d+): cannot unmarshal .* into (.*)$`)
	atLine    = regexp.MustCompile(`(?s)^line (\d+): (.*)$`)
)

// typeFault puts what the library says of a value into the words of this program. The value is left
// out: it might be a secret that was put in the wrong place.
func (d *document) typeFault(text string) fileFault {
	m := wrongKind.FindStringSubmatch(text)
	if m == nil {
		if m = atLine.FindStringSubmatch(text); m == nil {
			return fileFault{line: 0, text: text}
		}
		return fileFault{line: number(m[1]), text: m[2]}
	}
	line := number(m[1])
	return fileFault{line: line, text: d.keyAt(line) + " is of the wrong kind; needed is " + kindNeeded(m[2])}
}

// keyAt names the one key that stands in a line, or whose value does.
func (d *document) keyAt(line int) string {
	var found *keyLine
	for i, k := range d.keys {
		switch {
		case k.line > line:
		case found != nil && found.line == k.line && k.line == line && !strings.HasPrefix(k.key, found.key+"."):
			return "the value"
		case found == nil || k.line >= found.line:
			found = &d.keys[i]
		}
	}
	if found == nil {
		return "the value"
	}
	return found.key
}

func number(digits string) int {
	n, _ := strconv.Atoi(digits) // of a regular expression
	return n
}

var (
	tabIndent     = regexp.MustCompile(`(?m)^ *\t\s*\S`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// lineWith is the line of the first match in a text; 0: there is none.
func lineWith(what *regexp.Regexp, data []byte) int {
	at := what.FindIndex(data)
	if at == nil {
		return 0
	}
	return bytes.Count(data[:at[0]], []byte("\n")) + 1
}

// syntaxFault is why a text is no YAML.
func syntaxFault(err error, data []byte) fileFault {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if line := lineWith(tabIndent, data); line > 0 && (strings.HasSuffix(text, "cannot start any token") || strings.Contains(text, "tab character")) {
		return fileFault{line: line, text: "a tab stands before the text; indent with spaces, not with tabs"}
	}
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		return fileFault{line: lineWith(regexp.MustCompile(`\*`+regexp.QuoteMeta(m[1])+`\b`), data), text: "*" + m[1] + " refers to an anchor &" + m[1] + " that is not above it; a text that begins with * needs quotes"}
	}
	if m := atLine.FindStringSubmatch(text); m != nil {
		return fileFault{line: number(m[1]), text: m[2]}
	}
	return fileFault{line: oddLine(data), text: text}
}

// oddLine returns the line of the first byte that no text in UTF-8 has, or of the first control
// character; 0: there is none.
func oddLine(data []byte) int {
	line := 1
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		switch {
		case c == utf8.RuneError && size == 1, c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			return line
		case c == '\n':
			line++
		}
		data = data[size:]
	}
	return 0
}

// isValueKind reports whether kindNeeded has words for a Go type of a single value.
func isValueKind(goType string) bool {
	return slices.Contains([]string{"int", "int64", "bool", "duration"}, goType)
}

// kindNeeded says what a value of that Go type looks like in the file.
func kindNeeded(goType string) string {
	switch goType {
	case "[]string":
		return "a list such as [a, b]"
	case "[]int":
		return "a list of numbers such as [8080, 8081]"
	case "int", "int64":
		return "a number"
	case "bool":
		return "true or false"
	case "string":
		return "a text"
	case "duration":
		return "a duration such as 24h or 90m"
	}
	return "keys with values below it"
}
