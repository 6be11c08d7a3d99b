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
		{KindMember: "generic.kind", EventKind: "event", StatusKind: "status", SequenceMember: "generic.n", TimeMember: "generic.at"},
		{KindMember: "kind", StatusKind: "3"},
	} {
		if faults := d.Faults(); len(faults) > 0 {
			t.Errorf("%+v: %v", d, faults)
		}
	}
	for _, test := range []struct {
		dialect fds.Dialect
		want    []string
	}{
		{fds.Dialect{FromParameter: "at", ToParameter: "at"}, []string{`ToParameter is "at", which means something else already (see FromParameter)`}},
		{fds.Dialect{SubscriptionParameter: "ids"}, []string{`SubscriptionParameter is "ids", which is a parameter of FDS itself`}},
		{fds.Dialect{TagParameter: "a", SubscriptionParameter: "a"}, []string{`TagParameter is "a", which means something else already (see SubscriptionParameter)`}},
		{fds.Dialect{LanguageParameter: "ids"}, []string{`LanguageParameter is "ids", which is a parameter of FDS itself`}},
		{fds.Dialect{KindMember: "kind"}, []string{`KindMember is "kind", of which nothing is known to mean anything (see EventKind); say what it holds in an event and in a status`}},
		{fds.Dialect{EventKind: "event"}, []string{`KindMember is missing; name the member that holds EventKind or StatusKind`}},
		{fds.Dialect{KindMember: "kind", EventKind: "a", StatusKind: "a"}, []string{`StatusKind is "a", which means an event already (see EventKind)`}},
		{fds.Dialect{SequenceMember: "device_id"}, []string{`SequenceMember is "device_id", which many items have in common (see DeviceID); leave it out where there is none`}},
		{fds.Dialect{KindMember: "a", EventKind: "b", SequenceMember: "a"}, []string{`SequenceMember is "a", which many items have in common (see KindMember); leave it out where there is none`}},
		{fds.Dialect{ListMember: "list", Paging: fds.Paging{PageParameter: "p", CursorParameter: "c", CursorMember: "next"}},
			[]string{`Paging.CursorParameter is set beside another way to page (see Paging.PageParameter); take one away: a provider pages in one way`}},
		{fds.Dialect{ListMember: "list", Paging: fds.Paging{CursorMember: "next"}}, []string{"Paging.CursorMember goes together with the cursor's parameter (see Paging.CursorParameter)"}},
		{fds.Dialect{ListMember: "list", Paging: fds.Paging{CursorParameter: "c", CursorMember: "list.next"}},
			[]string{`ListMember is "list", beside the member "list.next" that leads to the next page (see Paging.CursorMember); where a member leads to the next page an answer is an object: name its other member, which holds the list`}},
		{fds.Dialect{Paging: fds.Paging{FirstPage: 1, Size: 10}},
			[]string{"Paging.FirstPage needs a parameter for the page, and is not negative (see Paging.PageParameter)", "Paging.SizeParameter goes together with a positive size (see Paging.Size)"}},
		{fds.Dialect{Paging: fds.Paging{PageParameter: "p", FirstPage: -1, SizeParameter: "p", Size: -1}},
			[]string{`Paging.SizeParameter is "p", which means something else already (see Paging.PageParameter)`,
				"Paging.FirstPage needs a parameter for the page, and is not negative (see Paging.PageParameter)", "Paging.SizeParameter goes together with a positive size (see Paging.Size)"}},
	} {
		var texts []string
		for _, fault := range test.dialect.Faults() {
			texts = append(texts, fault.String())
		}
		if !slices.Equal(texts, test.want) {
			t.Errorf("%+v: %q, want %q", test.dialect, texts, test.want)
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
	for _, f := range faults {
		fault := f.String()
		if len(fault) > 1500 || strings.ContainsFunc(fault, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("a fault of %d bytes: %.500q", len(fault), fault)
		}
	}
}
