package main

import (
	"strings"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// textLine shows a message to a person: when, whose, where, what.
func (p *program) textLine(m delivery.Message) []byte {
	where := strings.Join(m.Levels, "/")
	if where == "" { // it did not come by a topic, which names the device
		where = string(m.Kind)
		if device, err := fds.ParseDevice(m.Payload, p.settings.Provider.Dialect); err == nil && device.ID() != "" {
			where = strings.TrimSpace(where + " " + device.ID())
		}
	}
	var marks []string
	if m.Source != delivery.FromPush {
		marks = append(marks, string(m.Source))
	}
	if m.Retained {
		marks = append(marks, "retained")
	}
	if m.Duplicate {
		marks = append(marks, "again")
	}
	what := p.summary(m.Payload)
	if len(marks) > 0 {
		what = "(" + strings.Join(marks, ", ") + ") " + what
	}
	s := p.outStyle
	at, whose := m.ReceivedAt.Local().Format("15:04:05"), m.Owner.SubscriptionID.String()[:8]
	where = terminal.Short(where)
	if s.Width > 0 {
		room := s.Width - len(at) - len(whose) - 6
		where = s.Cut(where, max(room/2, 16))
		what = s.Cut(what, max(room-len([]rune(where)), 16))
	}
	return []byte(s.Faint(at) + "  " + s.Faint(whose) + "  " + s.Strong(where) + "  " + what + "\n")
}

// summary shows what an item says: what is specific to its type, or else its
// generic members.
func (p *program) summary(payload []byte) string {
	item, err := fds.ParseItem(payload)
	if err != nil {
		return count(len(payload), "byte") + " that are no FDS item"
	}
	r := rowOf(item)
	fields := r.specific
	if len(fields) == 0 {
		fields = r.generic
	}
	if len(fields) == 0 {
		fields = r.id
	}
	for i, f := range fields {
		fields[i].text = f.show(p.outStyle)
	}
	text := words(fields, 6)
	if r.kind != "" {
		text = r.kind + ": " + text
	}
	return text
}
