package fds_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
)

func TestEveryFaultOfADialectIsNamed(t *testing.T) {
	for _, d := range []fds.Dialect{
		{},
		{FromParameter: "from", ToParameter: "to", TimeMember: "at", TimeLayout: "20060102", LanguageParameter: "lang", TagParameter: "tag"},
		{ListMember: "list", Paging: fds.Paging{CursorParameter: "after", CursorMember: "paging.next", SizeParameter: "n", Size: 10}},
		{Paging: fds.Paging{PageParameter: "page", FirstPage: 1}},
		{SubscriptionMember: "owner", SubscriptionParameter: "owner", EventTopic: "devices/{device_id}/events", StatusTopic: "{generic.kind}-{id}/x"},
	} {
		if faults := d.Faults(); len(faults) > 0 {
			t.Errorf("%+v: %q", d, faults)
		}
	}
	for _, test := range []struct {
		dialect fds.Dialect
		want    []string
	}{
		{fds.Dialect{FromParameter: "at", ToParameter: "at"}, []string{`Dialect.ToParameter is "at", which is given a meaning by Dialect.FromParameter already`}},
		{fds.Dialect{SubscriptionParameter: "ids"}, []string{`Dialect.SubscriptionParameter is "ids", which is given a meaning by FDS itself already`}},
		{fds.Dialect{TagParameter: "a", SubscriptionParameter: "a"}, []string{`Dialect.TagParameter is "a", which is given a meaning by Dialect.SubscriptionParameter already`}},
		{fds.Dialect{LanguageParameter: "ids"}, []string{`Dialect.LanguageParameter is "ids", which is given a meaning by FDS itself already`}},
		{fds.Dialect{ListMember: "list", Paging: fds.Paging{PageParameter: "p", CursorParameter: "c", CursorMember: "next"}},
			[]string{"Dialect.Paging: PageParameter and CursorParameter are both set; a provider pages in one way"}},
		{fds.Dialect{ListMember: "list", Paging: fds.Paging{CursorMember: "next"}}, []string{"Dialect.Paging: CursorParameter and CursorMember go together"}},
		{fds.Dialect{ListMember: "list", Paging: fds.Paging{CursorParameter: "c", CursorMember: "list.next"}},
			[]string{`Dialect.ListMember is "list"; with a CursorMember an answer is an object, in which they are two members`}},
		{fds.Dialect{Paging: fds.Paging{FirstPage: 1, Size: 10}},
			[]string{"Dialect.Paging: FirstPage needs a PageParameter, and is not negative", "Dialect.Paging: SizeParameter and a positive Size go together"}},
		{fds.Dialect{Paging: fds.Paging{PageParameter: "p", FirstPage: -1, SizeParameter: "p", Size: -1}},
			[]string{`Dialect.Paging.SizeParameter is "p", which is given a meaning by Dialect.Paging.PageParameter already`,
				"Dialect.Paging: FirstPage needs a PageParameter, and is not negative", "Dialect.Paging: SizeParameter and a positive Size go together"}},
	} {
		if faults := test.dialect.Faults(); !slices.Equal(faults, test.want) {
			t.Errorf("%+v: %q, want %q", test.dialect, faults, test.want)
		}
	}
}

// TestAttackFaultsOfADialectForgeNoLine: it may come from a file that someone else wrote.
func TestAttackFaultsOfADialectForgeNoLine(t *testing.T) {
	odd := strings.Repeat("odd\n\x1b[31m\u009b\u202e", 1000)
	faults := fds.Dialect{
		FromParameter: odd, ToParameter: odd, LanguageParameter: odd, ListMember: odd, SubscriptionParameter: odd, TagParameter: odd, EventTopic: odd + "#", StatusTopic: odd + "{",
		Paging: fds.Paging{PageParameter: odd, CursorParameter: odd, CursorMember: odd, SizeParameter: odd},
	}.Faults()
	if len(faults) < 11 {
		t.Errorf("%d faults", len(faults))
	}
	for _, fault := range faults {
		if len(fault) > 1500 || strings.ContainsFunc(fault, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("a fault of %d bytes: %.500q", len(fault), fault)
		}
	}
}
