package fds_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestTheDialectSaysWhereAnItemsTimeIs(t *testing.T) {
	want := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, test := range []struct {
		dialect fds.Dialect
		item    string
		found   bool
	}{
		{fds.Dialect{TimeMember: "generic.when"}, `{"generic":{"when":"2026-03-04T05:06:07Z"}}`, true},
		{fds.Dialect{TimeMember: "generic.when"}, `{"generic":{"when":"2026-03-04T06:06:07.000+01:00"}}`, true},
		{fds.Dialect{TimeMember: "at", TimeLayout: time.DateTime}, `{"at":"2026-03-04 05:06:07"}`, true},
		{fds.Dialect{TimeMember: "at"}, `{"at":"2026-03-04 05:06:07"}`, false},
		{fds.Dialect{TimeMember: "at"}, `{"at":1}`, false},
		{fds.Dialect{TimeMember: "at"}, `{"generic":{"at":"2026-03-04T05:06:07Z"}}`, false},
		{fds.Dialect{}, `{"":"2026-03-04T05:06:07Z"}`, false},
	} {
		at, found := test.dialect.Time(mustItem(t, test.item))
		if found != test.found || found && !at.Equal(want) {
			t.Errorf("%+v in %s: %v, %v", test.dialect, test.item, at, found)
		}
	}
}

func TestADateTimeIsReadInAnyFormThatLeavesNothingOpen(t *testing.T) {
	d := fds.Dialect{TimeMember: "at"}
	second := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	half := second.Add(500 * time.Millisecond)
	for text, want := range map[string]time.Time{
		`"2026-03-04T05:06:07Z"`:             second,
		`"2026-03-04T05:06:07+0000"`:         second,
		`"2026-03-04T05:06:07.500+0000"`:     half,
		`"2026-03-04T06:06:07,5+0100"`:       half,
		`"2026-03-04T06:06:07+01"`:           second,
		`"2026-03-04 05:06:07Z"`:             second,
		`"2026-03-04 05:06:07 +0000"`:        second,
		`"2026-03-04 05:06:07 UTC"`:          second,
		`"2026-03-04t05:06:07z"`:             second,
		`"20260304T050607Z"`:                 second,
		`"20260304T060607.5+0100"`:           half,
		`" 2026-03-04T05:06:07Z\n"`:          second,
		`"2026-03-04T05:06Z"`:                second.Add(-7 * time.Second),
		`1772600767`:                         second,
		`1772600767.5`:                       half,
		`1.7726007675e9`:                     half,
		`1772600767000`:                      second,
		`1772600767500.000`:                  half,
		`1772600767500000`:                   half,
		`1772600767500000001`:                half.Add(1),
		`"1772600767"`:                       second,
		`"1772600767500"`:                    half,
		`"2026-03-04 05:06:07"`:              {}, // in which zone?
		`"2026-03-04"`:                       {},
		`"2026030405"`:                       {},
		`"2026-03-04T05:06:07 CET"`:          {},
		`"1e9"`:                              {},
		`""`:                                 {},
		`0`:                                  {},
		`-1772600767`:                        {},
		`20260304`:                           {},
		`1e400`:                              {},
		`1e19`:                               {},
		`true`:                               {},
		`null`:                               {},
		`{"at":1772600767}`:                  {},
		`"` + strings.Repeat("1", 500) + `"`: {},
		strings.Repeat("1", 500):             {},
	} {
		at, found := d.Time(mustItem(t, `{"at":`+text+`}`))
		if found == want.IsZero() || !at.Equal(want) && found {
			t.Errorf("%.60s: %v, %v, want %v", text, at, found, want)
		}
	}
	// A layout of one's own is first, and what says more than it is read beside it.
	d.TimeLayout = "02.01.2006 15:04:05"
	for _, text := range []string{`"04.03.2026 05:06:07"`, `"2026-03-04T05:06:07+0000"`, `1772600767`} {
		if at, found := d.Time(mustItem(t, `{"at":`+text+`}`)); !found || !at.Equal(second) {
			t.Errorf("%s: %v, %v", text, at, found)
		}
	}
}

func TestAnIDThatIsANumberIsReadAsItIsSpelt(t *testing.T) {
	for text, want := range map[string]string{
		`17`: "17", `-1`: "-1", `1.50`: "1.50", `12345678901234567890123`: "12345678901234567890123", `"17"`: "17", `"a"`: "a",
		`true`: "", `null`: "", `[17]`: "", `{"id":17}`: "", `""`: "",
	} {
		data := []byte(`{"device_id":` + text + `,"message_id":` + text + `,"tag_id":` + text + `,"space_id":` + text + `}`)
		device, _ := fds.ParseDevice(data, fds.Dialect{})
		message, _ := fds.ParseMessage(data, fds.Dialect{})
		tag, _ := fds.ParseTag(data, fds.Dialect{})
		space, err := fds.ParseSpace(data)
		if err != nil || device.ID() != want || message.ID() != want || tag.ID() != want || space.ID() != want {
			t.Errorf("%s: %q, %q, %q, %q, %v", text, device.ID(), message.ID(), tag.ID(), space.ID(), err)
		}
	}
	chain, err := mustSpace(t, `{"space_id":1,"generic":{"part_of":{"space_id":2}}}`).PartOf()
	if err != nil || len(chain) != 1 || chain[0].ID() != "2" {
		t.Errorf("%v, %v", chain, err)
	}
}

// TestAttackAnItemThatNamesNoOwnerNamesNone: an ID that is none is not that of whoever
// asks.
func TestAttackAnItemThatNamesNoOwnerNamesNone(t *testing.T) {
	id := fds.NewSubscriptionID()
	named := fds.Dialect{SubscriptionMember: "owner.id"}
	for item, want := range map[string]bool{
		`{"owner":{"id":"` + id.String() + `"}}`:                  true,
		`{"owner":{"id":"` + strings.ToUpper(id.String()) + `"}}`: true,
		`{"owner":{"id":"{` + id.String() + `}"}}`:                false,
		`{"owner":{"id":" ` + id.String() + `"}}`:                 false,
		`{"owner":{"id":["` + id.String() + `"]}}`:                false,
		`{"owner":{"id":""}}`:                                     false,
		`{"owner":"` + id.String() + `"}`:                         false,
		`{"id":"` + id.String() + `"}`:                            false,
		`{"owner.id":"` + id.String() + `"}`:                      false,
		`{}`:                                                      false,
	} {
		got, found := named.Subscription(mustItem(t, item))
		if found != want || found && got != id || !found && !got.IsZero() {
			t.Errorf("%s: %v, %v", item, got, found)
		}
	}
	if _, found := (fds.Dialect{}).Subscription(mustItem(t, `{"":"`+id.String()+`"}`)); found {
		t.Error("a member that nobody named was read")
	}
}
