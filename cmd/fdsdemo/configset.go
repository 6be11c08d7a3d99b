package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/yamledit"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

func (p *program) setConfigCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set KEY VALUE...",
		Short: "Set a key in the file; comments and order stay as they are",
		Long: `Set a key in the file, which then is checked: with a fault that it did not have before it stays as
it was. Comments, order and the file's mode stay too. A new place of a secret replaces the old one. A list has each of its values as an argument,
or all in one, as [a, b]; what begins with a dash comes behind --. Secrets are not for the command
line, where others see them: set the place of one.`,
		Example: `  fdsdemo config set push.session_expiry 48h
  fdsdemo config set push.topics 'devices/+/events' 'devices/+/status'
  fdsdemo config set application.client_secret_command -- pass show fds/secret
  fdsdemo config set owners.harbour 1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return wrongUsage("%s takes a key and a value; see: %s --help", commandOf(c), c.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return completeValue(args[0])
			}
			return p.completeKeys(c, args, typed)
		},
		RunE: func(c *cobra.Command, args []string) error {
			row, err := settable(args[0])
			if err != nil {
				return err
			}
			value, err := row.parse(args[1:])
			if err != nil {
				return err
			}
			return p.change(c.Context(), args[0], value)
		},
	}
}

func (p *program) unsetCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "unset KEY",
		Short:             "Take a key, or a section, out of the file",
		Args:              oneArgument("the key"),
		ValidArgsFunction: p.completeKeys,
		RunE: func(c *cobra.Command, args []string) error {
			if _, ok := settingOf(args[0]); !ok {
				return unknownKey(args[0], true)
			}
			return p.change(c.Context(), args[0], nil)
		},
	}
}

// completeValue completes what a key may be set to.
func completeValue(key string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch row, _ := settingOf(key); {
	case row.kind == kindSwitch:
		return []cobra.Completion{"true", "false"}, cobra.ShellCompDirectiveNoFileComp
	case key == "tokens.store":
		return stores, cobra.ShellCompDirectiveNoFileComp
	case strings.HasSuffix(key, "_file"), strings.HasSuffix(key, "folder"), key == "push.certificates":
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// settable returns the row of a key that has a value.
func settable(key string) (setting, error) {
	row, ok := settingOf(key)
	switch {
	case !ok:
		return row, unknownKey(key, false)
	case row.kind == kindTexts:
		return row, wrongUsage("%s is a section whose keys are names; write %s.NAME", key, key)
	case row.kind == kindSection:
		return row, wrongUsage("%s is a section; its keys: fdsdemo config reference %s", key, key)
	}
	return row, nil
}

// word is a value that is no text.
var word = regexp.MustCompile(`^[A-Za-z0-9.+-]+$`)

// parse makes a value of what was typed. That it is of the right kind is seen when the file is
// checked.
func (row setting) parse(typed []string) (*yaml.Node, error) {
	if row.kind != kindList && row.kind != kindNumbers && len(typed) > 1 {
		return nil, wrongUsage("%s is one %s; put a value with spaces into quotes", row.key, row.kind)
	}
	switch row.kind {
	case kindText:
		return yamledit.Text(typed[0]), nil
	case kindList, kindNumbers:
		return row.list(typed)
	}
	if !word.MatchString(typed[0]) {
		return nil, wrongUsage("%s is a %s, and the value is none", row.key, row.kind)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: typed[0]}, nil
}

func (row setting) list(typed []string) (*yaml.Node, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	if len(typed) == 1 && strings.HasPrefix(typed[0], "[") {
		var all []string
		if err := yaml.Unmarshal([]byte(typed[0]), &all); err != nil {
			return nil, wrongUsage("%s is a list, written as [a, b]; or give each value as an argument", row.key)
		}
		typed = all
	}
	for _, text := range typed {
		one := yamledit.Text(text)
		if row.kind == kindNumbers {
			if !word.MatchString(text) {
				return nil, wrongUsage("%s is a list of numbers", row.key)
			}
			one = &yaml.Node{Kind: yaml.ScalarNode, Value: text}
		} else if strings.ContainsAny(text, ",[]{}") {
			one.Style = yaml.DoubleQuotedStyle
		}
		list.Content = append(list.Content, one)
	}
	return list, nil
}

// pathOf splits a key into its sections and the last part, which may have dots where it is a name.
func pathOf(key string) []string {
	for at := 0; ; {
		dot := strings.IndexByte(key[at:], '.')
		if dot < 0 {
			return strings.Split(key, ".")
		}
		if at += dot; settingsByKey()[key[:at]].kind == kindTexts {
			return append(strings.Split(key[:at], "."), key[at+1:])
		}
		at++
	}
}

// isBefore reports whether the reference has one key of a section before another one.
func isBefore(a, b string) bool {
	place := func(name string) int {
		return slices.IndexFunc(settingRows, func(row setting) bool { return lastOf(row.key) == name })
	}
	i, j := place(a), place(b)
	return i >= 0 && j >= 0 && i < j
}

// change sets a key of the file in use, or with nil takes it out.
func (p *program) change(ctx context.Context, key string, value *yaml.Node) error {
	before, err := p.document()
	if err != nil {
		return err
	}
	text, err := yamledit.Set(before.data, pathOf(key), value, isBefore)
	if value != nil && err == nil {
		for _, other := range otherWays(key) { // a secret has one place
			if before.find(other) != nil && err == nil {
				text, err = yamledit.Set(text, pathOf(other), nil, isBefore)
			}
		}
	}
	switch {
	case errors.Is(err, yamledit.ErrForm):
		return wrongUsage("%s was not changed: %v; the line is %s:%d", terminal.Short(key), err, before.path, before.line(key))
	case err != nil:
		return wrongUsage("%s: %v", before.path, err)
	case bytes.Equal(text, before.data):
		p.tell("%s is as it was.", before.path)
		return nil
	}
	after, err := parseDocument(before.path, text)
	if err != nil {
		return err
	}
	left, fresh, err := p.faultsOf(ctx, before, after)
	if err != nil {
		return err
	}
	if len(fresh) > 0 {
		p.tell("%s was not changed, since then it would be wrong:", before.path)
		return &faultsError{before.path, fresh}
	}
	if err := replaceFile(before, text); err != nil {
		return err
	}
	for _, line := range (&faultsError{before.path, left}).lines() {
		p.tell("fdsdemo: warning: %s", line)
	}
	return nil
}

// faultsOf are those that a document has after a change: left are those that it had, fresh the
// others. No program is run for it.
func (p *program) faultsOf(ctx context.Context, before, after *document) (left, fresh []fileFault, err error) {
	quiet := slog.New(slog.DiscardHandler)
	for _, d := range []*document{before, after} {
		if _, err := d.check(ctx, quiet, nil); err != nil {
			return nil, nil, err
		}
	}
	for _, f := range after.faults {
		if f.unset || slices.ContainsFunc(before.faults, func(old fileFault) bool { return old.text == f.text }) {
			left = append(left, f)
		} else {
			fresh = append(fresh, f)
		}
	}
	return left, fresh, nil
}

// replaceFile writes a text in the place of a document, if that is as it was read. A link stays
// one, and the file's mode what it was.
func replaceFile(d *document, text []byte) error {
	path, err := filepath.EvalSymlinks(d.path)
	if err != nil {
		return err
	}
	now, err := textfile.Read(path, maxConfigBytes)
	if err != nil {
		return err
	}
	if !bytes.Equal(now.Data, d.data) {
		return errors.New(d.path + " has changed meanwhile; try again")
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, text); err != nil {
		return unwritable(d.path, err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		return os.Chmod(path, mode)
	}
	return nil
}

// unwritable says that a file cannot be written.
func unwritable(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return wrongUsage("%s cannot be written: %v", path, err)
}
