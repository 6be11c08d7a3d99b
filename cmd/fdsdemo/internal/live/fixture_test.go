package live

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

var update = flag.Bool("update", false, "write testdata anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// noon is when everything in these tests happens.
var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func ownerKey(t testing.TB, id string) fds.OwnerKey {
	t.Helper()
	parsed, err := fds.ParseSubscriptionID(id)
	if err != nil {
		t.Fatal(err)
	}
	return fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: parsed}
}

// person is a view and who sits before it.
type person struct {
	t     testing.TB
	model *model
	north fds.OwnerKey
	south fds.OwnerKey
	came  int
}

func newPerson(t testing.TB, width, height int, unicode bool) *person {
	t.Helper()
	p := &person{t: t, north: ownerKey(t, "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01"), south: ownerKey(t, "2b7f1d2f-6cae-4d64-9c1f-3a0e2d8b4f02")}
	p.model = newModel(t.Context(), Options{Title: "fdsdemo watch", Unicode: unicode})
	p.tell(tea.WindowSizeMsg{Width: width, Height: height})
	p.tell(second(noon))
	return p
}

// tell has the model take what happens, without what it would do next.
func (p *person) tell(msg tea.Msg) { p.model.Update(msg) }

// types presses keys, one after the other.
func (p *person) types(keys ...string) {
	for _, key := range keys {
		press := tea.KeyPressMsg{Text: key}
		switch key {
		case "enter":
			press = tea.KeyPressMsg{Code: tea.KeyEnter}
		case "esc":
			press = tea.KeyPressMsg{Code: tea.KeyEscape}
		case "tab":
			press = tea.KeyPressMsg{Code: tea.KeyTab}
		case "down":
			press = tea.KeyPressMsg{Code: tea.KeyDown}
		case "pgdown":
			press = tea.KeyPressMsg{Code: tea.KeyPgDown}
		case "backspace":
			press = tea.KeyPressMsg{Code: tea.KeyBackspace}
		}
		p.tell(press)
	}
}

// sees returns the screen without its colours.
func (p *person) sees() string {
	p.model.stale = true
	return ansi.Strip(p.model.View().Content)
}

// look checks that the screen is exactly as large as the terminal.
func (p *person) look() string {
	p.t.Helper()
	screen := p.sees()
	lines := strings.Split(screen, "\n")
	if len(lines) != p.model.height {
		p.t.Errorf("%d lines on a terminal of %d:\n%s", len(lines), p.model.height, screen)
	}
	for i, line := range lines {
		if width := terminal.Width(line); width != p.model.width {
			p.t.Errorf("line %d is %d wide on a terminal of %d: %q", i+1, width, p.model.width, line)
		}
	}
	return screen
}

// golden compares the screen with what is in testdata.
func (p *person) golden(name string) {
	p.t.Helper()
	var got strings.Builder
	for line := range strings.Lines(p.look()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o600); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatalf("%v; go test ./cmd/fdsdemo/internal/live -update writes it", err)
	}
	if got.String() != strings.ReplaceAll(string(want), "\r\n", "\n") {
		p.t.Errorf("%s has changed; after a look at it run go test -update\n%s\nwant\n%s", path, got.String(), want)
	}
}

// come hands a message over.
func (p *person) come(m delivery.Message, f Facts) {
	p.t.Helper()
	p.came++
	h := handed{entry: entryOf(m, f), taken: make(chan struct{})}
	p.tell(messages{h})
	select {
	case <-h.taken:
	default:
		p.t.Error("the message is not taken")
	}
}

// status hands over that of a device.
func (p *person) status(owner fds.OwnerKey, device string, level float64, ago time.Duration) {
	text := fmt.Sprintf("%.1f", level)
	p.come(delivery.Message{
		Owner: owner, Levels: []string{"devices", device, "status"}, QoS: 1, Source: delivery.FromPush, Kind: delivery.KindStatus, ReceivedAt: noon.Add(-ago),
		Payload: fmt.Appendf(nil, `{"device_id":%q,"generic":{"device_type":"dispenser"},"device_type_specific":{"fill_level":%s}}`, device, text),
	}, Facts{Device: device, Time: noon.Add(-ago), Summary: "fill_level " + text, Readings: []Reading{{Name: "fill_level", Text: text, Number: true, Level: true, Value: level}}})
}

// event hands one over.
func (p *person) event(owner fds.OwnerKey, device, severity string, gravity Gravity, code, text string, ago time.Duration) {
	p.come(delivery.Message{
		Owner: owner, Levels: []string{"devices", device, "events"}, QoS: 1, Source: delivery.FromPush, Kind: delivery.KindEvent, ReceivedAt: noon.Add(-ago + 2*time.Second),
		Payload: fmt.Appendf(nil, `{"generic":{"severity":%q,"code":%q,"message":%q,"device_id":%q}}`, severity, code, text, device),
	}, Facts{Device: device, Severity: severity, Gravity: gravity, Code: code, Time: noon.Add(-ago), Summary: text})
}

// furnish tells of two owners, their devices and what those have said.
func (p *person) furnish() {
	p.tell(owners{
		{Key: p.north, Name: "harbour", Broker: "broker.example.com:8883", Connection: Standing{Text: "connected", Time: noon.Add(-3 * time.Hour)}, Grant: Standing{Text: "renewed", Time: noon.Add(29 * 24 * time.Hour)}, Certificate: Standing{Time: noon.Add(364 * 24 * time.Hour)}, Last: noon.Add(-2 * time.Second)},
		{Key: p.south, Name: "old-town", Broker: "broker.example.com:8883", RetryAt: noon.Add(12 * time.Second), Connection: Standing{Mood: Soon, Text: "backing off", Time: noon.Add(-4 * time.Minute), Problem: "push: connect: dial tcp: connection refused"}, Grant: Standing{Mood: Ill, Text: "lapsed", Problem: "sign in again"}, Certificate: Standing{Mood: Soon, Time: noon.Add(5 * 24 * time.Hour)}, GapSince: noon.Add(-5 * time.Minute), GapWhy: "the connection was lost"},
	})
	level := func(v float64) []Reading {
		return []Reading{{Name: "fill_level", Text: fmt.Sprintf("%.1f", v), Number: true, Level: true, Value: v}}
	}
	floor := []string{"Harbour Airport", "Terminal 1", "Floor 0"}
	p.tell(read{owner: p.north, devices: []Device{
		{ID: "SOAPINC_9550B510_0001", Name: "Dispenser 1", Type: "dispenser", Place: floor, Room: "Restroom 051", Readings: level(36.8), Time: noon.Add(-2 * time.Hour), Raw: []byte(`{"device_id":"SOAPINC_9550B510_0001"}`)},
		{ID: "SOAPINC_9550B510_0002", Name: "Dispenser 2", Type: "dispenser", Place: floor, Room: "Restroom 052", Readings: level(100), Time: noon.Add(-time.Hour)},
		{ID: "COUNTCO_9550B510_0009", Name: "Counter 9", Type: "people_counter", Place: []string{"Harbour Airport", "Terminal 2", "Floor 1"}, Room: "Entrance", Readings: []Reading{{Name: "total", Text: "1194", Number: true, Value: 1194}}, Time: noon.Add(-time.Minute)},
		{ID: "日本製の石鹸ディスペンサー七号", Type: "dispenser", Readings: level(3), Time: noon.Add(-30 * 24 * time.Hour)},
	}})
	p.tell(read{owner: p.south, err: errors.New("the provider does not answer")})
	for i := range 20 {
		p.status(p.north, "SOAPINC_9550B510_0001", 80-float64(i)*3.5, time.Duration(20-i)*time.Minute)
	}
	p.event(p.north, "SOAPINC_9550B510_0001", "warning", GravityWarning, "dispenser_low", "The dispenser is running low.", 90*time.Second)
	p.event(p.north, "MOPWORKS_9550B510_0008", "critical", GravityError, "machine_fault", "The machine has stopped.", 3*time.Hour)
	p.event(p.north, "COUNTCO_9550B510_0009", "info", GravityInfo, "traffic_high", "Many people in a short time.", 10*time.Second)
	p.event(p.south, "COUNTCO_9550B510_0011", "rouge", GravityUnknown, "porte_ouverte", "La porte est ouverte.", 5*time.Second)
	p.tell(second(noon.Add(time.Second)))
	p.tell(second(noon))
}
