package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// streamFormats are those of messages, which have no end: a table would never be whole.
var streamFormats = []string{"lines", "json", "yaml", "csv"}

// streamColumns are those of messages in CSV. Besides, payload.NAME is a member of the payload.
var streamColumns = []string{
	"received_at", "owner", "topic", "qos", "retained", "duplicate", "source", "kind", "key",
	"time", "severity", "code", "device_id", "device_type", "payload",
}

// ofPayload begins the column of a member.
const ofPayload = "payload."

// addStream adds the flags to a command that shows messages, after its others.
func (o *printing) addStream(c *cobra.Command) {
	o.formats = streamFormats
	f := c.Flags()
	f.StringVarP(&o.format, "output", "o", streamFormats[0], "`format`: "+strings.Join(streamFormats, ", "))
	f.BoolVar(&o.json, "json", false, "print one JSON object a line; short for --output json")
	f.StringVar(&o.jq, "jq", "", "print what this jq `filter` makes of each JSON object, texts without quotes")
	f.StringSliceVar(&o.columns, "columns", nil, "only these `columns` of lines or CSV, in this order: A,B; payload.NAME is a member of the payload")
	f.BoolVar(&o.noHeaders, "no-headers", false, "leave the headings of CSV out")
	completes(c, "output", cobra.FixedCompletions(streamFormats, cobra.ShellCompDirectiveNoFileComp))
	completes(c, "columns", cobra.FixedCompletions(streamColumns, cobra.ShellCompDirectiveNoFileComp))
	before := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if before != nil {
			if err := before(c, args); err != nil {
				return err
			}
		}
		o.asked = c.Flags().Changed("output") || c.Flags().Changed("columns")
		return o.check(c.Flags().Changed)
	}
}

// checkStream refuses columns that no message has.
func (o *printing) checkStream() error {
	for _, name := range o.columns {
		if !slices.Contains(streamColumns, name) && !strings.HasPrefix(name, ofPayload) {
			return wrongUsage("there is no column %q; there are %s, and payload.NAME%s", name, strings.Join(streamColumns, ", "), meant(name, streamColumns))
		}
	}
	return nil
}

// head returns what comes before the first message.
func (o *printing) head() []byte {
	if o.format != "csv" || o.noHeaders {
		return nil
	}
	return csvLine(o.shown())
}

// shown are the columns of CSV.
func (o *printing) shown() []string {
	if len(o.columns) == 0 {
		return streamColumns
	}
	return o.columns
}

// message writes a message as it was asked for.
func (o *printing) message(ctx context.Context, p *program, m delivery.Message) ([]byte, error) {
	switch forTerminal := p.outStyle.Width > 0; {
	case o.format == "csv":
		cells := cellsOf(m, p.settings.Provider.Dialect, o.shown())
		if forTerminal {
			for i := range cells {
				cells[i] = terminal.Escape(cells[i])
			}
		}
		return csvLine(cells), nil
	case o.format == "lines" && len(o.columns) > 0:
		cells := cellsOf(m, p.settings.Provider.Dialect, o.columns)
		for i := range cells {
			if cells[i] = terminal.Escape(cells[i]); cells[i] == "" {
				cells[i] = "-"
			}
		}
		return []byte(strings.Join(cells, "  ") + "\n"), nil
	case o.format == "lines":
		return p.textLine(m), nil
	default:
		line := messageLine(m, forTerminal && o.renders() == nil)
		if render := o.renders(); render != nil {
			return render(ctx, bytes.TrimSuffix(line, []byte("\n")), forTerminal)
		}
		return line, nil
	}
}

func csvLine(cells []string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(cells) // to memory
	w.Flush()
	return b.Bytes()
}

// cellsOf returns what a message has in these columns; nothing where it has none.
func cellsOf(m delivery.Message, d fds.Dialect, columns []string) []string {
	all := map[string]string{
		"received_at": m.ReceivedAt.UTC().Format(time.RFC3339Nano), "owner": m.Owner.SubscriptionID.String(), "topic": m.Topic, "qos": strconv.Itoa(int(m.QoS)),
		"retained": strconv.FormatBool(m.Retained), "duplicate": strconv.FormatBool(m.Duplicate), "source": string(m.Source), "kind": string(m.Kind), "payload": string(m.Payload),
	}
	all["key"], _ = m.Key()
	if device, err := fds.ParseDevice(m.Payload, d); err == nil {
		all["device_id"], all["device_type"] = device.ID(), string(device.Type())
	}
	if item, err := fds.ParseItem(m.Payload); err == nil {
		all["severity"], all["code"] = d.Severity(item), d.Code(item)
		if at, ok := d.Time(item); ok {
			all["time"] = at.UTC().Format(time.RFC3339Nano)
		}
		if raw, ok := compact(item.Raw()); ok {
			all["payload"] = string(raw)
		}
		if slices.ContainsFunc(columns, func(name string) bool { return strings.HasPrefix(name, ofPayload) }) {
			var members csvSheet
			members.add(item)
			for i, name := range members.columns {
				all[ofPayload+name] = members.rows[0][i]
			}
		}
	}
	cells := make([]string, len(columns))
	for i, name := range columns {
		cells[i] = all[name]
	}
	return cells
}
