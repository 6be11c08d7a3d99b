package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/yamledit"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/statefolder"
)

// valueReport is a line of config show --json.
type valueReport struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	From  string `json:"from"`           // file or default
	Line  int    `json:"line,omitempty"` // of the file

	text string // the value as YAML, in one line
}

// values returns what holds of each key that has a value: what the file says, or the default. No
// secret is among them: of those the file has only the places. In a URL the user is left out, and
// of a program all but its name.
func (d *document) values() []valueReport {
	var all []valueReport
	for _, row := range settings() {
		switch row.kind {
		case kindSection:
		case kindTexts:
			for _, k := range d.keys {
				if strings.HasPrefix(k.key, row.key+".") {
					all = append(all, valueOf(k.key, k.value, k.line))
				}
			}
		default:
			if v, ok := d.value(row.key); ok {
				all = append(all, v)
			}
		}
	}
	return all
}

// value is that of one key.
func (d *document) value(key string) (valueReport, bool) {
	row, _ := settingOf(key)
	named := settingsByKey()[key].key == "" // by the user, for whom an empty text says something
	if at := d.find(key); at != nil && (named || !isUnset(at.value)) {
		return valueOf(key, at.value, at.line), true
	}
	preset := row.preset
	if preset == "" {
		preset = d.derived(key)
	}
	if preset == "" {
		return valueReport{}, false
	}
	var whole yaml.Node
	if err := yaml.Unmarshal([]byte(preset), &whole); err != nil || len(whole.Content) == 0 {
		return valueReport{}, false // a test parses them all
	}
	return valueOf(key, whole.Content[0], 0), true
}

// isUnset reports whether a value stands for the default: nothing, an empty text or list, or 0.
func isUnset(value *yaml.Node) bool {
	switch value.Kind {
	case yaml.ScalarNode:
		return value.Tag == "!!null" || value.Value == "" || value.Tag == "!!int" && value.Value == "0"
	case yaml.SequenceNode, yaml.MappingNode:
		return len(value.Content) == 0
	}
	return false
}

// derived is a default that follows from other keys, as YAML; "": none.
func (d *document) derived(key string) string {
	name := d.file.Application.Name
	if name == "" {
		name = defaultName
	}
	text := ""
	switch key {
	case "tokens.folder":
		if d.file.Tokens.Store == "file" {
			text, _ = userFolder(name, "grants")
		}
	case "push.state_folder":
		text = statefolder.Of(name)
	case "application.redirect_path":
		if d.file.Provider.Issuer != "" {
			text = fdsclient.RedirectPath(d.file.Provider.Issuer)
		}
	case "application.assertion_audience":
		text = d.file.Provider.Issuer
	}
	if text == "" {
		return ""
	}
	line, err := yamledit.Inline(yamledit.Text(text), false)
	if err != nil {
		return ""
	}
	return line
}

// valueOf is a value as it may be shown.
func valueOf(key string, value *yaml.Node, line int) valueReport {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	r := valueReport{Key: key, From: "file", Line: line}
	if line == 0 {
		r.From = "default"
	}
	shown := withoutSecrets(value, strings.HasSuffix(key, "_command"))
	text, err := yamledit.Inline(shown, false)
	if err == nil {
		err = shown.Decode(&r.Value)
	}
	if err != nil {
		text, r.Value = "?", nil
	}
	r.text = text
	return r
}

// withoutSecrets is a copy of a value in one line, without what may be a secret in it. What stands
// elsewhere is left out, unless it is one text: it may hold itself.
func withoutSecrets(value *yaml.Node, isCommand bool) *yaml.Node {
	if value.Kind == yaml.AliasNode {
		if value = value.Alias; value.Kind != yaml.ScalarNode {
			return yamledit.Text("...")
		}
	}
	shown := &yaml.Node{Kind: value.Kind, Tag: value.Tag, Value: value.Value, Style: yaml.FlowStyle}
	if value.Kind == yaml.ScalarNode {
		shown.Style = 0
		if value.ShortTag() == "!!str" {
			return yamledit.Text(strings.ReplaceAll(netpeer.WithoutUser(value.Value), "\n", " "))
		}
		return shown
	}
	for i, below := range value.Content {
		if isCommand && i > 0 {
			shown.Content = append(shown.Content, yamledit.Text("..."))
			break
		}
		shown.Content = append(shown.Content, withoutSecrets(below, false))
	}
	return shown
}

func (p *program) showCommand() *cobra.Command {
	var how printing
	c := &cobra.Command{
		Use:   "show [KEY]",
		Short: "Print what holds of each key, and where it comes from",
		Long: `Print what holds of each key that has a value, or of those below a section, and where it comes
from: a line of the file, or the default. Of secrets the file has the places alone; what those
hold is not printed. What is wrong with the file is said, as every command does.`,
	}
	takesSection(c, func(ctx context.Context, section string) error { return p.show(ctx, section, &how) })
	how.add(c)
	c.Flags().Lookup("json").Usage = "print one JSON object a line; short for --output json"
	return c
}

func (p *program) show(ctx context.Context, section string, how *printing) error {
	used, err := p.chosen()
	if err != nil {
		return err
	}
	d, err := p.document()
	if err != nil {
		return err
	}
	all := slices.DeleteFunc(d.values(), func(v valueReport) bool {
		return section != "" && v.Key != section && !strings.HasPrefix(v.Key, section+".")
	})
	switch {
	case used.name != "" && used.by != "":
		p.tell("%s, the context %s by %s", used.path, used.name, used.by)
	default:
		p.tell("%s", used.path)
	}
	if how.format != "table" {
		err = printAll(ctx, p, all, how)
	} else {
		err = p.printValues(all, how)
	}
	if err != nil {
		return err
	}
	_, err = d.load(ctx, slog.New(slog.DiscardHandler), nil)
	return err
}

func (p *program) printValues(all []valueReport, how *printing) error {
	table := terminal.Table{Columns: []string{"KEY", "VALUE", "FROM"}, Hint: jsonHint}
	for _, v := range all {
		from := "default"
		if v.Line > 0 {
			from = fmt.Sprintf("line %d", v.Line)
		}
		table.Rows = append(table.Rows, []string{terminal.Escape(v.Key), terminal.Escape(v.text), from})
	}
	if plain := how.columns == nil && how.sort == "" && !how.noHeaders; plain && p.outStyle.Width > 0 && widest(table.Rows) > p.outStyle.Width {
		return p.stack(table.Rows)
	}
	arranged, err := how.arrange(table, table.Columns)
	if err != nil {
		return err
	}
	return p.print(arranged)
}

// widest is how many columns of a terminal rows take in a table.
func widest(rows [][]string) int {
	var widths [3]int
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], terminal.Width(row[i]))
		}
	}
	return widths[0] + widths[1] + widths[2] + 4 // between them
}

// stack prints what a table would cut: below each key its value, and where that comes from.
func (p *program) stack(rows [][]string) error {
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(p.outStyle.Strong(row[0]) + "  " + p.outStyle.Faint(row[2]) + "\n    " + row[1] + "\n")
	}
	return p.write([]byte(b.String()))
}

func (p *program) getConfigCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key; of a list each on a line",
		Long: `Print the value of a key, the default where the file has none. A list is printed one a line. A key
that has no value is status 1.`,
		Args:              oneArgument("the key"),
		ValidArgsFunction: p.completeKeys,
		RunE: func(_ *cobra.Command, args []string) error {
			row, ok := settingOf(args[0])
			if !ok {
				return unknownKey(args[0], false)
			}
			if row.kind == kindSection || row.kind == kindTexts && row.key == args[0] {
				return wrongUsage("%s is a section; see: %s", row.key, p.invocation("config show "+row.key))
			}
			d, err := p.document()
			if err != nil {
				return err
			}
			v, ok := d.value(args[0])
			if !ok {
				return fmt.Errorf("%s has no value, and there is no default; what it means: fdsdemo config reference %s", terminal.Short(args[0]), terminal.Short(args[0]))
			}
			return p.write(v.lines(p.outStyle.Width > 0))
		},
	}
}

// lines are a value for a script: a text as it is, a list one a line.
func (v valueReport) lines(forTerminal bool) []byte {
	list, several := v.Value.([]any)
	if !several {
		list = []any{v.Value}
	}
	var b bytes.Buffer
	for _, one := range list {
		text := fmt.Sprint(one)
		if forTerminal {
			text = terminal.Escape(text)
		}
		b.WriteString(text + "\n")
	}
	return b.Bytes()
}

// completeKeys completes the keys that have a value, with those that the file has given names.
func (p *program) completeKeys(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	all, how := completeSettings(false)(c, args, typed)
	if len(args) > 0 {
		return all, how
	}
	d, err := p.document()
	if err != nil {
		return all, how
	}
	for _, k := range d.keys {
		if row, _ := settingOf(k.key); settingsByKey()[k.key].key == "" && row.kind == kindText && k.key == terminal.Escape(k.key) && !strings.ContainsAny(k.key, " \t") {
			all = append(all, k.key)
		}
	}
	return all, how
}
