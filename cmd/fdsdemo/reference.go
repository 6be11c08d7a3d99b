package main

//go:generate go test -run TestTheDocumentationHasTheReference -write-doc .

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// referenceEntry is a line of config reference --json.
type referenceEntry struct {
	Key      string `json:"key"`
	Type     string `json:"type"`
	Default  string `json:"default,omitempty"` // as YAML
	Example  string `json:"example,omitempty"` // as YAML
	Required bool   `json:"required,omitempty"`
	Meaning  string `json:"meaning,omitempty"`
}

// reference returns the keys of the configuration file, or those below a section, in their order.
func reference(section string) []referenceEntry {
	var entries []referenceEntry
	add := func(row setting) {
		entries = append(entries, referenceEntry{row.key, row.kind, row.preset, row.example, row.required, row.meaning})
	}
	for _, row := range settings() {
		if section == "" || row.key == section || strings.HasPrefix(row.key, section+".") {
			add(row)
		}
	}
	if row, ok := settingOf(section); ok && len(entries) == 0 { // whose name is the user's choice
		row.example = ""
		add(row)
	}
	return entries
}

func (p *program) referenceCommand() *cobra.Command {
	var how printing
	c := &cobra.Command{
		Use:   "reference [KEY]",
		Short: "Print every key of the configuration file with its type, default and meaning",
		Long: `Print every key of the configuration file, those below a section, or one, with type, default and
meaning. --output yaml is a file with all of them, to begin with; the values that are no defaults
are examples.`,
	}
	takesSection(c, func(ctx context.Context, section string) error {
		return p.printReference(ctx, reference(section), &how)
	})
	addFormats(c, &how, "table for a person, "+strings.Join(formats[1:], ", ")+"; yaml is a configuration file")
	return c
}

// takesSection has a command take a key or a section, or neither.
func takesSection(c *cobra.Command, run func(ctx context.Context, section string) error) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return wrongUsage("%s takes one argument, a key or a section; see: %s --help", commandOf(c), c.CommandPath())
		}
		return nil
	}
	c.ValidArgsFunction = completeSettings(true)
	c.RunE = func(c *cobra.Command, args []string) error {
		section := strings.Join(args, "")
		if _, ok := settingOf(section); !ok && section != "" {
			return unknownKey(section, true)
		}
		return run(c.Context(), section)
	}
}

// addFormats adds those flags of printing that are for what is no table.
func addFormats(c *cobra.Command, how *printing, usage string) {
	f := c.Flags()
	f.StringVarP(&how.format, "output", "o", "table", "`format`: "+usage)
	f.BoolVar(&how.json, "json", false, "print one JSON object a line; short for --output json")
	f.StringVar(&how.jq, "jq", "", "print what this jq `filter` makes of each JSON object, texts without quotes")
	completes(c, "output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	c.PreRunE = func(c *cobra.Command, _ []string) error { return how.check(c.Flags().Changed) }
}

func (p *program) printReference(ctx context.Context, entries []referenceEntry, how *printing) error {
	switch how.format {
	case "yaml":
		return p.write([]byte(referenceYAML(entries, 100)))
	case "table":
		return p.write([]byte(p.referenceText(entries)))
	}
	return printAll(ctx, p, entries, how)
}

// printAll prints values as JSON or CSV, as how has it.
func printAll[T any](ctx context.Context, p *program, all []T, how *printing) error {
	var rows csvSheet
	to := p.sinkFor(how, itsTurn(), nil, &rows)
	for _, one := range all {
		line, err := jsonLine(one)
		if err != nil {
			return err
		}
		item, err := fds.ParseItem(line)
		if err != nil {
			return err
		}
		if err := to.add(ctx, item); err != nil {
			return err
		}
	}
	if err := to.end(ctx, true); err != nil {
		return err
	}
	return rows.write(p, how)
}

// referenceText is for a person: a key and what a value is in one line, the meaning below.
func (p *program) referenceText(entries []referenceEntry) string {
	width := p.outStyle.Width
	if width == 0 || width > 100 {
		width = 100
	}
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(p.outStyle.Strong(e.Key))
		if e.Type != kindSection {
			b.WriteString("  " + p.outStyle.Faint(e.facts()))
		}
		b.WriteByte('\n')
		for _, line := range wrapped(sentenceOf(e.Meaning), width-4) {
			b.WriteString("    " + line + "\n")
		}
	}
	return b.String()
}

// facts says what a value looks like, and what it is without one.
func (e referenceEntry) facts() string {
	switch text := e.Type; {
	case e.Required && strings.HasPrefix(e.Key, "webhook."):
		return text + ", required for webhook"
	case e.Required:
		return text + ", required"
	case e.Default != "":
		return text + ", default " + e.Default
	default:
		return text
	}
}

// sentenceOf begins a text with a capital letter, if its first word may have one.
func sentenceOf(text string) string {
	first, _, _ := strings.Cut(text, " ")
	if text == "" || text[0] < 'a' || text[0] > 'z' || strings.ContainsAny(first, "_:,") {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// wrapped splits a text at spaces into lines of at most so many characters, where that can be.
func wrapped(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if n := len(lines) - 1; n >= 0 && len(lines[n])+1+len(word) <= width {
			lines[n] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}

// commentColumn is where the comments of referenceYAML begin.
const commentColumn = 40

// referenceYAML is a configuration file with these keys, of at most so many columns where that can
// be. A section that is above them comes with them.
func referenceYAML(entries []referenceEntry, width int) string {
	var b strings.Builder
	written := make(map[string]bool)
	for _, e := range entries {
		above, name := "", e.Key
		for at := strings.IndexByte(name, '.'); at >= 0; at = strings.IndexByte(name, '.') {
			above += name[:at]
			if name = name[at+1:]; !written[above] {
				written[above] = true
				fmt.Fprintf(&b, "%s%s:\n", indentOf(above), lastOf(above))
			}
			above += "."
		}
		written[e.Key] = true
		line := indentOf(e.Key) + name + ":"
		if value := e.shown(); value != "" {
			line += " " + value
		}
		comments := wrapped(e.comment(), width-commentColumn-2)
		for i, comment := range comments {
			if i > 0 {
				line = ""
			}
			if len(line) > commentColumn-2 {
				line += "  # " + comment
			} else {
				line = fmt.Sprintf("%-*s# %s", commentColumn, line, comment)
			}
			b.WriteString(line + "\n")
		}
		if len(comments) == 0 {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func indentOf(key string) string { return strings.Repeat("  ", strings.Count(key, ".")) }

func lastOf(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// shown is the value to show: the example, the default, or one that sets nothing.
func (e referenceEntry) shown() string {
	switch {
	case e.Example != "":
		return e.Example
	case e.Default != "":
		return e.Default
	}
	switch e.Type {
	case kindList, kindNumbers:
		return "[]"
	case kindTexts:
		return "{}"
	case kindSection:
		return ""
	}
	return `""`
}

func (e referenceEntry) comment() string {
	var parts []string
	switch {
	case e.Required:
		parts = append(parts, "required")
	case e.Example != "":
		parts = append(parts, "for example")
	}
	if e.Meaning != "" {
		parts = append(parts, e.Meaning)
	}
	return strings.Join(parts, "; ")
}

// unknownKey is said of a key that there is not.
func unknownKey(key string, sections bool) error {
	words := settingKeys()
	if sections {
		words = nil
		for _, row := range settings() {
			words = append(words, row.key)
		}
	}
	return wrongUsage("there is no key %q; see: fdsdemo config reference%s", terminal.Short(key), meantKey(key, words))
}

// meantKey suggests a key: one that differs little, or one whose last part is as it was typed.
func meantKey(typed string, keys []string) string {
	best := closest(typed, keys)
	if best != "" {
		return suggested(best)
	}
	var last []string
	for _, key := range keys {
		last = append(last, lastOf(key))
	}
	if i := slices.Index(last, closest(lastOf(typed), last)); i >= 0 {
		return suggested(keys[i])
	}
	return ""
}

// completeSettings completes keys, and with sections those too.
func completeSettings(sections bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var all []cobra.Completion
		for _, row := range settings() {
			if sections || row.kind != kindSection {
				all = append(all, cobra.CompletionWithDesc(row.key, row.meaning))
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}
