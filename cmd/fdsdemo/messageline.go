package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
)

// messageLine writes a message as one line of JSON. The payload is in it byte for
// byte, without the white space between its tokens and as terminal.EscapeJSON has it;
// what is not JSON in valid UTF-8 is in it as base64.
func messageLine(m delivery.Message, forTerminal bool) []byte {
	var b bytes.Buffer
	text := func(name, value string) {
		b.WriteString(`"` + name + `":`)
		b.Write(quote(value))
		b.WriteByte(',')
	}
	flag := func(name string, value bool) {
		b.WriteString(`"` + name + `":` + strconv.FormatBool(value) + ",")
	}
	b.WriteByte('{')
	text("owner", m.Owner.SubscriptionID.String())
	text("issuer", m.Owner.Issuer)
	text("topic", m.Topic)
	b.WriteString(`"levels":[`)
	for i, level := range m.Levels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quote(level))
	}
	b.WriteString(`],"qos":` + strconv.Itoa(int(m.QoS)) + ",")
	flag("retained", m.Retained)
	flag("duplicate", m.Duplicate)
	text("source", string(m.Source))
	if m.Source != delivery.FromPush || m.Kind != delivery.KindUnknown {
		text("kind", string(m.Kind))
	}
	if key, ok := m.Key(); ok {
		text("key", key)
	}
	text("received_at", m.ReceivedAt.UTC().Format(time.RFC3339Nano))
	if raw, ok := compact(m.Payload); ok {
		b.WriteString(`"payload":`)
		b.Write(terminal.EscapeJSON(raw, forTerminal))
	} else {
		b.WriteString(`"payload_base64":"` + base64.StdEncoding.EncodeToString(m.Payload) + `"`)
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// compact removes the white space between the tokens of a JSON text and nothing
// else. ok is false when it is not JSON in valid UTF-8.
func compact(text []byte) (raw []byte, ok bool) {
	if !utf8.Valid(text) {
		return nil, false
	}
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return nil, false
	}
	return b.Bytes(), true
}

// jsonLine encodes a value of ours, for terminals too. Unlike json.Marshal it leaves <, >
// and & as they are.
func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return append(terminal.EscapeJSON(bytes.TrimSuffix(b.Bytes(), []byte("\n")), true), '\n'), err
}

func quote(text string) []byte {
	line, err := jsonLine(text)
	if err != nil {
		panic("fdsdemo: a string cannot be written as JSON: " + err.Error())
	}
	return bytes.TrimSuffix(line, []byte("\n"))
}
