package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/itchyny/gojq"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// printing is how a list is written: --output, --json, --jq, --columns, --sort and --no-headers.
type printing struct {
	format    string // see formats
	json      bool   // --json, short for --output json
	jq        string
	columns   []string
	sort      string // a column; "-" before it: from the greatest down
	noHeaders bool

	query   *gojq.Code // of jq
	formats []string   // what --output may be, the default first; nil: those of lists
	asked   bool       // of messages: how they are written was said
}

var formats = []string{"table", "json", "yaml", "csv"}

var tableFlags = []string{"columns", "sort", "no-headers"}

// add adds the flags to a command, and has them checked before it runs.
func (o *printing) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.format, "output", "o", "table", "`format`: "+strings.Join(formats, ", "))
	f.BoolVar(&o.json, "json", false, "print one JSON object a line, as the provider sent it; short for --output json")
	f.StringVar(&o.jq, "jq", "", "print what this jq `filter` makes of each JSON object, texts without quotes")
	f.StringSliceVar(&o.columns, "columns", nil, "only these `columns` of a table or CSV, in this order: A,B; in CSV members with dots, as generic.name")
	f.StringVar(&o.sort, "sort", "", "sort a table or CSV by this `column`; -COLUMN from the last to the first")
	f.BoolVar(&o.noHeaders, "no-headers", false, "leave the headings of a table or CSV out")
	completes(c, "output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	c.PreRunE = func(c *cobra.Command, _ []string) error { return o.check(c.Flags().Changed) }
}

// check refuses what contradicts itself.
func (o *printing) check(given func(flag string) bool) error {
	if o.formats == nil {
		o.formats = formats
	}
	if !slices.Contains(o.formats, o.format) {
		return wrongUsage("there is no format %q; it is one of %s%s", o.format, strings.Join(o.formats, ", "), meant(o.format, o.formats))
	}
	switch {
	case o.json && given("output") && o.format != "json":
		return wrongUsage("--json and --output %s are not for one command", o.format)
	case given("jq") && given("output") && o.format != "json":
		return wrongUsage("--jq is for JSON, not for --output %s", o.format)
	}
	if o.json || given("jq") {
		o.format = "json"
	}
	if tables := o.format == o.formats[0] || o.format == "csv"; !tables {
		for _, flag := range tableFlags {
			if given(flag) {
				return wrongUsage("--%s is for %s and CSV; of JSON choose with --jq", flag, pick(o.formats[0] == "table", "tables", o.formats[0]))
			}
		}
	}
	if slices.Contains(o.columns, "") || given("columns") && len(o.columns) == 0 || given("sort") && strings.TrimPrefix(o.sort, "-") == "" {
		return wrongUsage("--columns and --sort name columns")
	}
	if o.formats[0] == streamFormats[0] {
		if err := o.checkStream(); err != nil {
			return err
		}
	}
	if !given("jq") {
		return nil
	}
	query, err := gojq.Parse(o.jq)
	if err == nil {
		o.query, err = gojq.Compile(query) // without the environment, files and modules
	}
	if err != nil {
		return wrongUsage("--jq %q: %v", terminal.Short(o.jq), err)
	}
	return nil
}

// renderer makes of a line of JSON what is written; nil: the line.
type renderer func(ctx context.Context, line []byte, forTerminal bool) ([]byte, error)

// sinkFor makes where items go that are not for a table. Of: whose they are, where lines of JSON
// say it; rows are those of CSV.
func (p *program) sinkFor(how *printing, mine turn, of *whose, rows *csvSheet) sink[fds.Item] {
	if how.format == "csv" {
		return &csvSink{turn: mine, sheet: rows}
	}
	return &jsonSink{program: p, turn: mine, render: how.renders(), whose: of}
}

func (o *printing) renders() renderer {
	switch {
	case o.query != nil:
		return o.filtered
	case o.format == "yaml":
		return asYAML
	}
	return nil
}

// jqError is what a filter made of a line.
type jqError struct{ err error }

func (e *jqError) Error() string { return "--jq: " + e.err.Error() }
func (e *jqError) Unwrap() error { return e.err }

// filtered writes each result of the filter on a line: a text as it is, all else as JSON.
func (o *printing) filtered(ctx context.Context, line []byte, forTerminal bool) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber() // which gojq takes, and keeps as it is spelt
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for results := o.query.RunWithContext(ctx, value); ; {
		result, ok := results.Next()
		if !ok {
			return b.Bytes(), nil
		}
		switch result := result.(type) {
		case error:
			if halt := new(gojq.HaltError); errors.As(result, &halt) && halt.Value() == nil {
				return b.Bytes(), nil
			}
			return nil, &jqError{result}
		case string:
			if forTerminal {
				result = terminal.Escape(result)
			}
			b.WriteString(result)
		default:
			raw, err := gojq.Marshal(result)
			if err != nil {
				return nil, &jqError{err}
			}
			b.Write(terminal.EscapeJSON(raw, forTerminal))
		}
		b.WriteByte('\n')
	}
}

// asYAML writes a line of JSON as a document of YAML, whose members are in the order in which they
// were sent.
func asYAML(_ context.Context, line []byte, forTerminal bool) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	node, err := yamlOf(d, 0)
	if err != nil {
		return nil, err
	}
	b := bytes.NewBufferString("---\n")
	e := yaml.NewEncoder(b)
	e.SetIndent(2)
	if err := e.Encode(node); err != nil {
		return nil, fmt.Errorf("an item cannot be written as YAML: %w", err)
	}
	if !forTerminal {
		return b.Bytes(), nil
	}
	var safe bytes.Buffer
	for line := range strings.Lines(b.String()) {
		safe.WriteString(terminal.Escape(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return safe.Bytes(), nil
}

// deepYAML is how deep YAML is indented; what is deeper stands in one line, since of an item that
// is nothing but objects the indents take thousands of times what it has.
const deepYAML = 100

// yamlOf reads the next value of JSON, which lies so deep. What the SDK takes for JSON has a bound
// of how deep it is.
func yamlOf(d *json.Decoder, depth int) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{Kind: yaml.ScalarNode}
	switch value := token.(type) {
	case nil:
		node.Tag, node.Value = "!!null", "null"
	case bool:
		node.Tag, node.Value = "!!bool", strconv.FormatBool(value)
	case json.Number:
		node.Tag, node.Value = "!!float", value.String()
		if !strings.ContainsAny(node.Value, ".eE") {
			node.Tag = "!!int"
		}
	case string:
		node.SetString(value)
	case json.Delim:
		node.Kind = yaml.SequenceNode
		if value == '{' {
			node.Kind = yaml.MappingNode
		}
		for d.More() {
			below, err := yamlOf(d, depth+1)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, below)
		}
		if len(node.Content) == 0 || depth == deepYAML {
			node.Style = yaml.FlowStyle
		}
		_, err = d.Token() // the end
	}
	return node, err
}
