package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/yamledit"
)

// shownKeys are those of which init writes a line that is a comment, where they have no value: what
// people look for next.
var shownKeys = []string{
	"provider.api_url", "provider.broker_url", "provider.ca_file",
	"provider.dialect.from_parameter", "provider.dialect.to_parameter", "provider.dialect.time_member", "provider.dialect.subscription_member",
	"provider.dialect.severity_member", "provider.dialect.code_member", "provider.dialect.event_topic", "provider.dialect.status_topic",
	"application.client_secret_file", "application.client_secret_env", "application.client_secret_command", "application.certificate_file", "application.key_file", "application.scopes",
	"tokens.store", "push.certificates", "push.topics", "push.session_expiry", "poll.interval", "owners",
}

// text is the file, with what each key means; a comment is what the reference says.
func (d *draft) text() ([]byte, error) {
	sections := make(map[string]bool)
	for key := range d.values {
		for at := range key {
			if key[at] == '.' {
				sections[key[:at]] = true
			}
		}
	}
	var b strings.Builder
	b.WriteString("# The configuration of fdsdemo. Every key: fdsdemo config reference. To change one: " + d.invocation("config set KEY VALUE") + "\n")
	for _, row := range settings() {
		value, set := d.values[row.key]
		switch {
		case set:
			node, err := row.parse([]string{value})
			if err != nil {
				return nil, err
			}
			text, err := yamledit.Inline(node, false)
			if err != nil {
				return nil, err
			}
			b.WriteString(commented(indentOf(row.key)+lastOf(row.key)+": "+text, row.meaning))
		case row.kind == kindSection && sections[row.key], row.kind == kindTexts && sections[row.key]:
			if !strings.Contains(row.key, ".") {
				b.WriteByte('\n')
			}
			b.WriteString(commented(indentOf(row.key)+lastOf(row.key)+":", row.meaning))
			if err := d.named(&b, row); err != nil {
				return nil, err
			}
		case row.kind == kindSection && slices.ContainsFunc(shownKeys, func(key string) bool { return strings.HasPrefix(key, row.key+".") }), slices.Contains(shownKeys, row.key):
			e := reference(row.key)[0]
			line := indentOf(row.key) + "# " + lastOf(row.key) + ":"
			if text := e.shown(); text != "" {
				line += " " + text
			}
			if !strings.Contains(row.key, ".") {
				b.WriteByte('\n')
			}
			b.WriteString(commented(line, row.meaning))
		}
	}
	return []byte(b.String()), nil
}

// named writes the keys of a section that are names.
func (d *draft) named(b *strings.Builder, section setting) error {
	var names []string
	for key := range d.values {
		if name, ok := strings.CutPrefix(key, section.key+"."); ok && section.kind == kindTexts {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		left, err := yamledit.Inline(yamledit.Text(name), false)
		if err != nil {
			return err
		}
		right, err := yamledit.Inline(yamledit.Text(d.values[section.key+"."+name]), false)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "%s  %s: %s\n", indentOf(section.key), left, right)
	}
	return nil
}

// commented is a line of a file with a comment behind it, or above where there is no room.
func commented(line, comment string) string {
	if comment == "" {
		return line + "\n"
	}
	if len(line) < commentColumn && len(comment)+commentColumn+2 <= 110 {
		return fmt.Sprintf("%-*s# %s\n", commentColumn, line, comment)
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
	var b strings.Builder
	for _, part := range wrapped(comment, 90) {
		b.WriteString(indent + "# " + part + "\n")
	}
	return b.String() + line + "\n"
}
