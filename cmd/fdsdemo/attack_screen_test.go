package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

// hidden is an item with raw characters that some readers take for the end of a line.
const hidden = "{\"device_id\":\"d1\",\"generic\":{\"a\":\"x\u2028y\u2029z\u0085\",\"\u2028\":\"\u009b\u202e\x7f\"}}"

// sameJSON checks that a line says what raw does.
func sameJSON(t *testing.T, line, raw string) {
	t.Helper()
	var got, want any
	if err := errors.Join(json.Unmarshal([]byte(line), &got), json.Unmarshal([]byte(raw), &want)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q became %q, %v", raw, line, err)
	}
}

func TestAttackOneLineIsOneRecordForEveryReader(t *testing.T) {
	s := newSetup(t)
	s.device(s.north, hidden)
	s.signIn(s.north)
	check := func(out string) {
		t.Helper()
		if strings.ContainsAny(out, "\u2028\u2029\u0085") || strings.Count(out, "\n") != 1 {
			t.Errorf("the line is %q", out)
		}
		if !strings.Contains(out, `x\u2028y\u2029z\u0085`) || !strings.Contains(out, "\u009b\u202e\x7f") { // the rest is as it was sent
			t.Errorf("the line is %q", out)
		}
	}
	r := s.run("get", "specifications", "--json").expect(statusDone)
	check(r.out)
	sameJSON(t, r.out, hidden)

	p := s.watch("--json")
	s.publish(s.north, hidden, "a\u2028b\u0085\u009b")
	line := p.await(p.out, "payload")
	check(line + "\n")
	var m struct {
		Levels  []string
		Payload json.RawMessage
	}
	if err := json.Unmarshal([]byte(line), &m); err != nil || m.Levels[0] != "a\u2028b\u0085\u009b" || !strings.Contains(line, `"a\u2028b\u0085\u009b"`) { // which we encode ourselves
		t.Errorf("the line is %q, %v", line, err)
	}
	sameJSON(t, string(m.Payload), hidden)
	p.end()
}

func item(t testing.TB, text string) fds.Item {
	t.Helper()
	i, err := fds.ParseItem([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// written counts the bytes of what would go to standard output.
type written int

func (w *written) Write(p []byte) (int, error) {
	*w += written(len(p))
	return len(p), nil
}

func TestAttackHalfAMegabyteOfJSONMakesNoGigabyteOfTable(t *testing.T) {
	t.Parallel()
	for name, wide := range map[string]string{
		"a long name":       `{"` + strings.Repeat("n", 500_000) + `":1}`,
		"a long value":      `{"a":"` + strings.Repeat("\\u001b", 80_000) + `"}`,
		"a long number":     `{"a":1` + strings.Repeat("0", 500_000) + `}`,
		"a long type":       `{"device_type":"` + strings.Repeat("t", 500_000) + `","a":1}`,
		"many names":        `{` + strings.Repeat(`"a":1,`, 50_000) + `"b":1}`,
		"many other names":  manyNames(40_000),
		"many inside":       `{"generic":` + manyNames(40_000) + `}`,
		"many languages":    `{"a":[` + strings.Repeat(`{"language":"en","t":"x"},`, 20_000) + `{"language":"de","t":"x"}]}`,
		"long names inside": `{"generic":{"` + strings.Repeat("n", 250_000) + `":{"` + strings.Repeat("m", 250_000) + `":1}}}`,
	} {
		var out written
		to := &tableSink{program: &program{out: &out, err: new(bytes.Buffer)}, turn: itsTurn()}
		for i := range 5000 {
			text := `{"z":1}`
			if i == 0 {
				text = wide
			}
			if err := to.add(t.Context(), item(t, text)); err != nil {
				t.Fatal(err)
			}
		}
		if to.sheet.bytes > 2<<20 {
			t.Errorf("%s: %d bytes are kept", name, to.sheet.bytes)
		}
		for _, group := range to.sheet.groups {
			for _, fields := range [][]field{group.rows[0].id, group.rows[0].specific, group.rows[0].generic} {
				if len(fields) > maxColumns {
					t.Errorf("%s: %d fields of a row are kept", name, len(fields))
				}
				for _, f := range fields {
					if most := terminal.MaxShown + len("..."); utf8.RuneCountInString(f.name) > most || utf8.RuneCountInString(f.text) > most {
						t.Errorf("%s: kept is %.200s: %.200s", name, f.name, f.text)
					}
				}
			}
		}
		if err := to.end(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if out > 5001*(maxColumns+1)*62 || name == "a long name" && out > 1<<20 {
			t.Errorf("%s: %d bytes of table", name, out)
		}
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":1,`, i)
	}
	return "{" + strings.TrimSuffix(b.String(), ",") + "}"
}

func TestAttackWhatIsKeptOfAListForATableIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 100_000} {
		var told bytes.Buffer
		to := &tableSink{program: &program{out: new(written), err: &told}, turn: itsTurn()}
		value := strings.Repeat("v", size/50)
		added := 0
		for ; added < 200_000; added++ {
			var b strings.Builder
			for i := range 50 {
				fmt.Fprintf(&b, `,"m%d_%d":"%s"`, added%20_000, i, value)
			}
			err := to.add(t.Context(), item(t, `{"a":1`+b.String()+`}`))
			if errors.Is(err, errEnough) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if added > tableRows || to.sheet.bytes > tableBytes+1<<20 {
			t.Errorf("%d rows, %d bytes are kept", added, to.sheet.bytes)
		}
		if err := to.end(t.Context(), true); err != nil || told.String() != fmt.Sprintf("There is more than these %d; --json shows all.\n", added) {
			t.Errorf("%v, told is %q", err, told.String())
		}
	}
}

func TestAttackWhatIsHeldOfAListInJSONIsBounded(t *testing.T) {
	t.Parallel()
	large := item(t, `{"a":"`+strings.Repeat("x", 1<<20-100)+`"}`)
	var out written
	to := &jsonSink{program: &program{out: &out}, turn: itsTurn()}
	for i := range 40 {
		if err := to.add(t.Context(), large); err != nil {
			t.Fatal(err)
		}
		if to.held.Len() > heldBytes+1<<20 {
			t.Fatalf("%d bytes are held", to.held.Len())
		}
		if early := i < heldBytes>>20; early == to.begun() {
			t.Fatalf("after %d items: printed %v", i+1, to.begun())
		}
	}
	if err := to.end(t.Context(), true); err != nil || int(out) != 40*(len(large.Raw())+1) {
		t.Errorf("%d bytes, %v", out, err)
	}

	// One whose turn has not come waits much earlier.
	for _, waits := range []sink[fds.Item]{&jsonSink{program: &program{out: &out}, turn: make(turn)}, &treeSink{program: &program{out: &out}, turn: make(turn)}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // so that the wait is an error
		added := 0
		for ; added < 20; added++ {
			if err := waits.add(ctx, large); err != nil {
				break
			}
		}
		if added > aheadBytes>>20 || added < aheadBytes>>20-1 || waits.begun() {
			t.Errorf("%T: %d MiB are held", waits, added)
		}
	}
}

func TestAttackATreeIsMadeOfABoundedList(t *testing.T) {
	t.Parallel()
	to := &treeSink{program: &program{out: new(written)}, turn: itsTurn()}
	space := item(t, `{"space_id":"a","generic":{}}`)
	for n := 1; ; n++ {
		err := to.add(t.Context(), space)
		if err == nil && n <= treeBytes/spaceBytes {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "over 64 MiB") || !strings.Contains(err.Error(), "without --tree") {
			t.Errorf("after %d spaces: %v", n, err)
		}
		break
	}
}

func TestAttackALongIDIsNotRepeatedInALineOfEachSpaceBelow(t *testing.T) {
	s := newSetup(t)
	site := strings.Repeat("s", 200_000)
	s.space(s.north, "b", "building", "", site+" site")
	for i := range 50 {
		if err := s.box.AddSpace(s.north, fmt.Appendf(nil, `{"space_id":"f%d","generic":{"space_type":"floor","part_of":{"space_id":"b"}}}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	s.signIn(s.north)
	s.run("spaces", "--tree", "--json").expect(statusFailed).says("the ID of a space has 200000 bytes", "without --tree")
	if r := s.run("spaces", "--tree").expect(statusDone); len(r.lines()) != 52 || len(r.out) > 52*200 {
		t.Errorf("%d lines, %d bytes", len(r.lines()), len(r.out))
	}
	if r := s.run("spaces", "--json").expect(statusDone); len(r.lines()) != 51 || !strings.Contains(r.out, site) {
		t.Errorf("%d lines", len(r.lines()))
	}
}

func TestAttackTheNamesOfManyOwnersTakeNoMemoryForEachItem(t *testing.T) {
	s := newSetup(t)
	owners := []fdstest.Owner{s.north, s.south}
	for range 62 {
		o, err := s.box.AddOwner(fdstest.Owner{Name: "Many"})
		if err != nil {
			t.Fatal(err)
		}
		owners = append(owners, o)
	}
	s.signIn(owners...)
	const items = 60_000 // which are 150 MB with the names of all
	s.box.Inject(fdstest.Answer(fdstest.APIEndpoint, 200, "application/json", "["+strings.Repeat(`{"a":1},`, items-1)+`{"a":2}]`))
	c := s.command("get", "specifications", "--grant", "--json")
	n := new(lineCounter)
	n.look = func() { n.peak = max(n.peak, peakMemory(t, c.Process.Pid)) }
	c.Stdout = n
	if err := c.Run(); err != nil || n.lines != items {
		t.Fatalf("%d lines, %v", n.lines, err)
	}
	if n.peak > 64<<20 {
		t.Errorf("it took %d MiB", n.peak>>20)
	} else {
		t.Logf("it took %d MiB", n.peak>>20)
	}
}

// lineCounter counts lines, and looks at their writer now and then.
type lineCounter struct {
	lines, writes int
	look          func()
	peak          int64
}

func (c *lineCounter) Write(p []byte) (int, error) {
	c.lines += bytes.Count(p, []byte("\n"))
	if c.writes++; c.writes%100 == 0 {
		c.look()
	}
	return len(p), nil
}

func TestAttackAListForEyesIsCutAndSaysSo(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.box.Inject(fdstest.Answer(fdstest.APIEndpoint, 200, "application/json", "["+strings.Repeat(`{"a":1},`, tableRows)+`{"a":2}]`))
	r := s.run("get", "specifications").expect(statusDone)
	if len(r.lines()) != tableRows+1 || r.err != fmt.Sprintf("There is more than these %d; --json shows all.\n", tableRows) {
		t.Errorf("%d lines, stderr %s", len(r.lines()), r.err)
	}
	if r := s.run("tag", "list").expect(statusDone); len(r.lines()) != tableRows+1 || !strings.Contains(r.err, "There is more than") {
		t.Errorf("%d lines, stderr %s", len(r.lines()), r.err)
	}
	if r := s.run("get", "specifications", "--json").expect(statusDone); len(r.lines()) != tableRows+1 || r.err != "" {
		t.Errorf("%d lines, stderr %s", len(r.lines()), r.err)
	}
}
