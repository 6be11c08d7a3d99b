package fds_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

func mustItem(t testing.TB, data string) fds.Item {
	t.Helper()
	item, err := fds.ParseItem([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return item
}

// odd is valid JSON that a decoder into Go values would not give back.
const odd = " {\"z\" : 1.0,\n \"a\":1E+2, \"n\":12345678901234567890123.000, \"a\": -0, \"\\u0061\":\"\\u00e9\\/<&>\", \"s\":\"\\ud800\", \"e\":[ ],\"\":null}\r\n"

func TestAnItemGivesItsBytesBackUntouched(t *testing.T) {
	item := mustItem(t, odd)
	if string(item.Raw()) != odd {
		t.Fatalf("raw is %q", item.Raw())
	}
	var want, got bytes.Buffer
	if err := json.Compact(&want, []byte(odd)); err != nil {
		t.Fatal(err)
	}
	encoder := json.NewEncoder(&got)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(item); err != nil || got.String() != want.String()+"\n" {
		t.Fatalf("as JSON %q, %v; want %q", got.String(), err, want.String())
	}
}

func TestAttackWhatIsNoJSONObjectInUTF8IsNoItem(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 1<<20) + "1" + strings.Repeat("}", 1<<20)
	for _, data := range []string{
		"", " ", "null", "true", "1", `"a"`, "[]", `[{"a":1}]`, "{", `{"a":1`, `{"a":1}}`, `{"a":1}{}`, `{a:1}`, `{"a":01}`, `{"a":1,}`, "{\"a\":\"\n\"}",
		`{'a':1}`, "{\"a\":\"\xff\"}", "{\"\xed\xa0\x80\":1}", "\xef\xbb\xbf{}", deep, `{"a":NaN}`,
	} {
		if _, err := fds.ParseItem([]byte(data)); !errors.Is(err, fds.ErrItem) {
			t.Errorf("%.40q: %v", data, err)
		} else if len(err.Error()) > 200 {
			t.Errorf("%.40q: an error of %d bytes", data, len(err.Error()))
		}
		for name, parse := range map[string]func() error{
			"device":  func() error { _, err := fds.ParseDevice([]byte(data), fds.Dialect{}); return err },
			"space":   func() error { _, err := fds.ParseSpace([]byte(data)); return err },
			"message": func() error { _, err := fds.ParseMessage([]byte(data), fds.Dialect{}); return err },
			"tag":     func() error { _, err := fds.ParseTag([]byte(data), fds.Dialect{}); return err },
		} {
			if !errors.Is(parse(), fds.ErrItem) {
				t.Errorf("%.40q was taken for a %s", data, name)
			}
		}
	}
}

func TestMembersAreFoundByTheirExactNameAndTheLastOneCounts(t *testing.T) {
	item := mustItem(t, odd)
	for _, test := range []struct {
		path []string
		want string
		ok   bool
	}{
		{[]string{"z"}, "1.0", true},
		{[]string{"a"}, `"\u00e9\/<&>"`, true}, // the third a, whose name is escaped
		{[]string{"n"}, "12345678901234567890123.000", true},
		{[]string{"e"}, "[ ]", true},
		{[]string{""}, "null", true},
		{[]string{"Z"}, "", false},
		{[]string{"z", "a"}, "", false},
		{[]string{"e", "0"}, "", false},
		{nil, odd, true},
	} {
		got, ok := item.Member(test.path...)
		if string(got) != test.want || ok != test.ok {
			t.Errorf("member %q: %q, %v; want %q, %v", test.path, got, ok, test.want, test.ok)
		}
	}
	nested := mustItem(t, `{"generic":{"a":{"b":1}},"generic":{"a":{"b":"x"}}}`)
	if got, ok := nested.Member("generic", "a", "b"); string(got) != `"x"` || !ok {
		t.Errorf("of two generic objects the first was read: %s", got)
	}
	if generic, ok := nested.Generic(); string(generic) != `{"a":{"b":"x"}}` || !ok {
		t.Errorf("generic: %s, %v", generic, ok)
	}
	if got, ok := (fds.Item{}).Member("a"); got != nil || ok {
		t.Errorf("the zero item has a member: %s", got)
	}
	if got, ok := (fds.Item{}).Member(); got != nil || ok {
		t.Errorf("the zero item is there: %s", got)
	}
	if data, err := json.Marshal(fds.Item{}); string(data) != "null" || err != nil {
		t.Errorf("the zero item as JSON: %s, %v", data, err)
	}
}

func TestAttackAMemberCannotGrowIntoItsNeighbour(t *testing.T) {
	item := mustItem(t, `{"a":1,"b":2}`)
	a, _ := item.Member("a")
	_ = append(a, "99"...)
	if string(item.Raw()) != `{"a":1,"b":2}` {
		t.Fatalf("the item became %s", item.Raw())
	}
}

func TestAsReadsAMemberOrSaysWhyNot(t *testing.T) {
	item := mustItem(t, `{"generic":{"n":3,"place":{"longitude":8.5,"latitude":47.25},"big":1e400}}`)
	if n, err := fds.As[int](item, "generic", "n"); n != 3 || err != nil {
		t.Errorf("n: %v, %v", n, err)
	}
	if place, err := fds.As[geolocation](item, "generic", "place"); err != nil || place != (geolocation{Longitude: 8.5, Latitude: 47.25}) {
		t.Errorf("place: %v, %v", place, err)
	}
	if all, err := fds.As[map[string]json.RawMessage](item); err != nil || len(all) != 1 {
		t.Errorf("the whole item: %v, %v", all, err)
	}
	if big, err := fds.As[json.Number](item, "generic", "big"); err != nil || big != "1e400" {
		t.Errorf("a number beyond float64: %v, %v", big, err)
	}
	if big, err := fds.As[float64](item, "generic", "big"); !errors.Is(err, fds.ErrItem) || big != 0 {
		t.Errorf("a number beyond float64 as float64: %v, %v", big, err)
	}
	if _, err := fds.As[int](item, "generic", "m"); !errors.Is(err, fds.ErrNoMember) || !strings.Contains(err.Error(), "generic.m") {
		t.Errorf("a missing member: %v", err)
	}
	if _, err := fds.As[string](item, "generic", "n"); !errors.Is(err, fds.ErrItem) || !strings.Contains(err.Error(), "generic.n") {
		t.Errorf("a number as a string: %v", err)
	}
	type outer struct{ Place struct{ Longitude string } }
	value, err := fds.As[outer](item, "generic")
	if !errors.Is(err, fds.ErrItem) || !strings.Contains(strings.ToLower(err.Error()), "generic.place.longitude") {
		t.Errorf("a wrong kind further down: %v", err)
	}
	if value != (outer{}) {
		t.Errorf("half a value came with the error: %v", value)
	}
}

type level struct {
	Level int       `json:"level"`
	At    time.Time `json:"at"`
}

// picky refuses everything by itself.
type picky struct{}

func (*picky) UnmarshalJSON(data []byte) error { return fmt.Errorf("no %s", data) }

func TestAnErrorOfAsNamesThePathDownToTheValue(t *testing.T) {
	item := mustItem(t, `{"generic":{"Filters":[{"level":1},{"level":7},{"level":"S3CR3T"}],"by":{"a.b":{"level":"S3CR3T"}},"x":{"x\n\u001b[31m":[true]},"z":{"":{"at":"S3CR3T"}},
		"y":{"`+strings.Repeat("y", 5000)+`":"S3CR3T"},"wear":{"at":"S3CR3T"},"odd":"S3CR3T","much":1e400,"dup":{"level":"S3CR3T"},"dup":{"level":1,"at":7},"part":{"\u0061t":null,"level":1.5},"exact":{"n":5,"level":"S3CR3T"},"inexact":{"n":true}},
		"deep":`+strings.Repeat(`{"a":`, 500)+`"S3CR3T"`+strings.Repeat(`}`, 500)+`}`)
	type deep struct {
		A *deep `json:"a"`
	}
	type exact struct {
		N     json.Number
		Level int `json:"level"`
	}
	for want, err := range map[string]error{
		"generic.Filters.2.level: malformed item: it does not fit int": as[[]level](item, "generic", "Filters"),
		"generic.filters: no such member":                              as[[]level](item, "generic", "filters"),
		`generic.by."a.b".level: malformed item: it does not fit int`:  as[map[string]level](item, "generic", "by"),
		`generic.x."x\n\x1b[31m".0: malformed item`:                    as[map[string][]string](item, "generic", "x"),
		`generic.z."".at: malformed item`:                              as[map[string]level](item, "generic", "z"),
		`generic.y."` + strings.Repeat("y", 64) + `" (cut`:             as[map[string]int](item, "generic", "y"),
		"generic.wear.at: malformed item: it does not fit time.Time":   as[level](item, "generic", "wear"),
		"generic.odd: malformed item: it does not fit fds_test.picky":  as[picky](item, "generic", "odd"),
		"generic.dup.at: malformed item: it does not fit time.Time":    as[level](item, "generic", "dup"), // of two the last one counts
		"generic.part.level: malformed item: it does not fit int":      as[level](item, "generic", "part"),
		"generic.exact.level: malformed item: it does not fit int":     as[exact](item, "generic", "exact"),
		"generic.inexact.n: malformed item: it does not fit":           as[exact](item, "generic", "inexact"),
		"generic.much: malformed item: it does not fit float64":        as[struct{ Generic struct{ Much float64 } }](item),
		"generic: malformed item: it does not fit []int":               as[struct{ Generic []int }](item),
		"deep" + strings.Repeat(".a", 31) + "....: malformed item":     as[struct{ Deep deep }](item),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "fds: "+want) {
			t.Errorf("%v\nwant %s", err, want)
			continue
		}
		if len(err.Error()) > 500 || strings.Contains(err.Error(), "S3CR3T") || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("the error shows what came: %q", err)
		}
	}
}

func as[T any](item fds.Item, path ...string) error {
	_, err := fds.As[T](item, path...)
	return err
}

func TestAttackPrintingAnItemSpillsNothing(t *testing.T) {
	device, err := fds.ParseDevice([]byte(`{"device_id":"a","generic":{"address":"Bahnhofstrasse 1"}}`), fds.Dialect{})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(device.Item), fmt.Sprintf("%+v", device.Item), fmt.Sprintf("%+v", device), fmt.Sprintf("%v", []fds.Device{device})} {
		if strings.Trim(text, "[]") != "item of 58 bytes" {
			t.Errorf("printed as %q", text)
		}
	}
}

// memberByMaps is Member by encoding/json alone.
func memberByMaps(at json.RawMessage, path ...string) (json.RawMessage, bool) {
	for _, name := range path {
		var members map[string]json.RawMessage
		if json.Unmarshal(at, &members) != nil || members == nil {
			return nil, false
		}
		next, ok := members[name]
		if !ok {
			return nil, false
		}
		at = next
	}
	return at, true
}

func FuzzMembersAreThoseThatEncodingJSONFinds(f *testing.F) {
	for _, seed := range []string{
		odd, `{"a":{"b":[1,{"c":"]}\"\\"}],"b":2}}`, `{"a":"\\\\\"","b":-1.5e+3 }`, `{"a":{},"a":[]}`, `{"\"":1,"a\\":{"\u0062":true}}`, `{ }`, `{"0":10,"":1E01000}`,
		`{"status":400,"message":"invalid_parameter"}`, `{"device_id":"FORKINC_S1_1223","generic":{"device_type":"dispenser"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		item, err := fds.ParseItem(data)
		var reference map[string]json.RawMessage
		valid := utf8.Valid(data) && json.Unmarshal(data, &reference) == nil && reference != nil
		if (err == nil) != valid {
			t.Fatalf("%q: error %v, a JSON object in UTF-8: %v", data, err, valid)
		}
		if err != nil {
			if !errors.Is(err, fds.ErrItem) {
				t.Fatalf("%q: %v is not of the class", data, err)
			}
			return
		}
		if !bytes.Equal(item.Raw(), data) {
			t.Fatalf("%q came back as %q", data, item.Raw())
		}
		for name, want := range reference {
			got, ok := item.Member(name)
			if !ok || !bytes.Equal(got, want) {
				t.Fatalf("%q: member %q is %q, want %q", data, name, got, want)
			}
			var inner map[string]json.RawMessage
			if json.Unmarshal(want, &inner) != nil {
				continue
			}
			for below := range inner {
				got, ok := item.Member(name, below)
				want, _ := memberByMaps(want, below)
				if !ok || !bytes.Equal(got, want) {
					t.Fatalf("%q: member %q of %q is %q, want %q", data, below, name, got, want)
				}
			}
		}
		for _, path := range [][]string{{"a"}, {"a", "b"}, {"generic", "part_of"}, {""}} {
			got, ok := item.Member(path...)
			want, wanted := memberByMaps(data, path...)
			if ok != wanted || !bytes.Equal(got, want) {
				t.Fatalf("%q: %q is %q, %v, want %q, %v", data, path, got, ok, want, wanted)
			}
		}
		all, err := fds.As[any](item)
		var want any
		wantErr := json.Unmarshal(data, &want)
		if wantErr != nil { // a number beyond float64: encoding/json leaves half a value, As none
			want = nil
		}
		if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(all, want) {
			t.Fatalf("%q as any: %v, %v; want %v, %v", data, all, err, want, wantErr)
		}
	})
}

// geolocation is what an application reads an object of its own into.
type geolocation struct {
	Longitude float64 `json:"longitude"`
	Latitude  float64 `json:"latitude"`
}
