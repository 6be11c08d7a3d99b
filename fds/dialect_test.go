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
