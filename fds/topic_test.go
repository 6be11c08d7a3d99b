package fds_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

func mustRoot(t testing.TB, spelling string) fds.Root {
	t.Helper()
	root, err := fds.ParseRoot(spelling)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestTheWireKeepsTheProvidersSpelling(t *testing.T) {
	upper := strings.ToUpper(lower)
	root := mustRoot(t, upper)
	topic, err := root.Topic("devices", "status")
	if err != nil || topic != "fds/v2/"+upper+"/devices/status" {
		t.Errorf("topic %q, %v", topic, err)
	}
	filter, err := root.Filter("#")
	if err != nil || filter != "fds/v2/"+upper+"/#" {
		t.Errorf("filter %q, %v", filter, err)
	}
	if root.ClientID() != upper {
		t.Errorf("client ID %q, want the provider's spelling", root.ClientID())
	}
	if root.SubscriptionID() != mustID(t, lower) {
		t.Error("the spelling made another owner")
	}
	if topic, err := root.SubscriptionID().Root().Topic("a"); err != nil || topic != "fds/v2/"+lower+"/a" {
		t.Errorf("without a root: topic %q, %v", topic, err)
	}
}

// Whose a topic is does not depend on how the ID is spelt; what is below a root does, as no
// filter of that root matches it.
func TestATopicInOtherLettersIsTheOwnersAndNotBelowItsRoot(t *testing.T) {
	for _, spelt := range []string{lower, strings.ToUpper(lower)} {
		root := mustRoot(t, spelt)
		for _, id := range []string{lower, strings.ToUpper(lower)} {
			topic, want := "fds/v2/"+id+"/devices/S1/status", []string{"devices", "S1", "status"}
			if owner, levels, err := fds.ParseTopic(topic); err != nil || owner != root.SubscriptionID() || !slices.Equal(levels, want) {
				t.Errorf("%s: %v, levels %q, %v", id, owner, levels, err)
			}
			levels, err := root.Levels(topic)
			switch {
			case id == spelt && (err != nil || !slices.Equal(levels, want)):
				t.Errorf("%s below %s: levels %q, %v", id, root, levels, err)
			case id != spelt && (!errors.Is(err, fds.ErrForeignTopic) || !strings.Contains(err.Error(), "case-sensitive")):
				t.Errorf("%s below %s: levels %q, %v", id, root, levels, err)
			}
		}
	}
}

func TestAttackATopicOfAnotherOwnerIsForeign(t *testing.T) {
	_, err := mustRoot(t, lower).Levels("fds/v2/" + other + "/devices")
	if !errors.Is(err, fds.ErrForeignTopic) || errors.Is(err, fds.ErrTopic) {
		t.Fatalf("%v", err)
	}
}

func TestLevelsThatMQTTOrFDSForbidMakeNoTopic(t *testing.T) {
	root := mustRoot(t, lower)
	for _, levels := range [][]string{
		{}, {""}, {"a", ""}, {"", "a"}, {"a/b"}, {"/"}, {"+"}, {"#"}, {"a+"}, {"a#b"}, {"a\x00"}, {"\xff"},
		{"\xed\xa0\x80"}, // a surrogate in UTF-8
		{"$SYS"}, {"a", "$b"}, {strings.Repeat("x", fds.MaxTopicBytes)},
	} {
		if topic, err := root.Topic(levels...); !errors.Is(err, fds.ErrTopic) {
			t.Errorf("levels %.40q gave %.80q, %v", levels, topic, err)
		} else if len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
	longest := strings.Repeat("x", fds.MaxTopicBytes-len(root.String()))
	if topic, err := root.Topic(longest); err != nil || len(topic) != fds.MaxTopicBytes {
		t.Errorf("a topic of exactly the bound: %v", err)
	}
	for _, level := range []string{"a b", "ä", "a$", ".", "..", "%2F", "日本"} {
		topic, err := root.Topic(level)
		if err != nil {
			t.Errorf("level %q: %v", level, err)
			continue
		}
		if levels, err := root.Levels(topic); err != nil || !slices.Equal(levels, []string{level}) {
			t.Errorf("level %q came back as %q, %v", level, levels, err)
		}
	}
}

func TestAttackNoFilterReachesAboveTheRoot(t *testing.T) {
	root := mustRoot(t, lower)
	for _, below := range []string{"#", "+", "+/+", "devices/#", "devices/+/status", "a b"} {
		if filter, err := root.Filter(below); err != nil || filter != root.String()+below {
			t.Errorf("%q: filter %q, %v", below, filter, err)
		}
	}
	for _, below := range []string{
		"", "/", "/#", "#/", "a/", "a//b", "#/a", "#/#", "a#", "#a", "a+", "+a", "a/+b/c", "$share/group/a", "a/$b", "a\x00b", "\xff",
		strings.Repeat("x", fds.MaxTopicBytes),
	} {
		if filter, err := root.Filter(below); !errors.Is(err, fds.ErrTopic) {
			t.Errorf("%.40q: filter %.80q, %v", below, filter, err)
		}
	}
}

func TestAFilterThatRepeatsTheRootIsRefusedWithWhatToWrite(t *testing.T) {
	root := mustRoot(t, lower)
	for _, below := range []string{"fds/v2/#", "fds/v2", "fds/v2/+/devices", "FDS/V2/#", "/fds/v2/#", root.String() + "#", root.String() + "devices/+/events", "fds/v2/" + other + "/#", "fds/v2/x\x00"} {
		filter, err := root.Filter(below)
		if !errors.Is(err, fds.ErrTopic) || filter != "" || !strings.Contains(err.Error(), `topics are below fds/v2/<subscription_id>/ already; write "#" or "devices/+/events"`) {
			t.Errorf("%q: filter %q, %v", below, filter, err)
		}
	}
	for _, below := range []string{"fds", "fds/#", "fds/v2x/#", "fds/v1/#", "devices/fds/v2/#"} {
		if filter, err := root.Filter(below); err != nil || filter != root.String()+below {
			t.Errorf("%q: filter %q, %v", below, filter, err)
		}
	}
}

func TestAttackWhatIsNoTopicOfFDSIsRefused(t *testing.T) {
	root := "fds/v2/" + lower + "/"
	for _, test := range []struct {
		topic string
		class error
	}{
		{"", fds.ErrTopic},
		{"fds/v2/", fds.ErrTopic},
		{"fds/v2/" + lower, fds.ErrTopic},
		{"FDS/v2/" + lower + "/a", fds.ErrTopic},
		{"fds/v1/" + lower + "/a", fds.ErrTopic},
		{"/fds/v2/" + lower + "/a", fds.ErrTopic},
		{"$share/g/" + root + "a", fds.ErrTopic},
		{root + "#", fds.ErrTopic},
		{root + "+/a", fds.ErrTopic},
		{root + "a+b", fds.ErrTopic},
		{root + "a\x00", fds.ErrTopic},
		{root + "\xc3", fds.ErrTopic},
		{root + strings.Repeat("x", fds.MaxTopicBytes), fds.ErrTopic},
		{"fds/v2/{" + lower + "}/a", fds.ErrSubscriptionID},
		{"fds/v2//a", fds.ErrSubscriptionID},
		{"fds/v2/+/a", fds.ErrSubscriptionID},
	} {
		id, levels, err := fds.ParseTopic(test.topic)
		if !errors.Is(err, test.class) || !id.IsZero() || levels != nil {
			t.Errorf("%.80q: %v, %q, %v", test.topic, id, levels, err)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%.80q: an error of %d bytes", test.topic, len(err.Error()))
		}
	}
}

// The topics below the root are the provider's own.
func TestATopicHasBelowTheRootWhatMQTTAllows(t *testing.T) {
	for below, want := range map[string][]string{
		"":          {""},
		"/a":        {"", "a"},
		"a/":        {"a", ""},
		"a//b":      {"a", "", "b"},
		"$a":        {"$a"},
		"a/$b c/ä€": {"a", "$b c", "ä€"},
	} {
		id, levels, err := fds.ParseTopic("fds/v2/" + lower + "/" + below)
		if err != nil || id.String() != lower || !slices.Equal(levels, want) {
			t.Errorf("%q: %v, %q, %v", below, id, levels, err)
		}
	}
}

func TestAFilterMatchesAsTheExamplesOfMQTT(t *testing.T) {
	for _, test := range []struct {
		filter, topic string
		want          bool
	}{
		// MQTT 5.0 section 4.7.1.2
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/#", "sport", true},
		{"#", "sport/tennis", true},
		// section 4.7.1.3
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+", "sport", true},
		{"+/tennis/#", "sport/tennis/a", true},
		{"sport/+/player1", "sport/tennis/player1", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		// section 4.7.3
		{"ACCOUNTS", "Accounts", false},
		{"/finance", "finance", false},
		{"a", "a/b", false},
		{"a/b", "a", false},
		{"a/+/#", "a", false},
		{"a/+/#", "a/b", true},
		{"+/#", "a", true},
	} {
		if got := fds.MatchBelow(test.filter, test.topic); got != test.want {
			t.Errorf("filter %q and topic %q: %v", test.filter, test.topic, got)
		}
	}
}

// matchSlowly is MQTT 5.0 section 4.7 word for word, on whole lists of levels.
func matchSlowly(filter, topic []string) bool {
	switch {
	case len(filter) == 0:
		return len(topic) == 0
	case filter[0] == "#":
		return len(filter) == 1 // any number of levels, the parent included
	case len(topic) == 0:
		return false
	case filter[0] == "+" || filter[0] == topic[0]:
		return matchSlowly(filter[1:], topic[1:])
	}
	return false
}

func FuzzMatchesAgreesWithASlowReference(f *testing.F) {
	for _, seed := range [][2]string{{"a/+/#", "a/b"}, {"+/+", "/b"}, {"a/#", "a"}, {"", ""}, {"+/#", "$a"}, {"//", "//"}, {"a/#/", "a"}, {"#/a", "b/a"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		want := matchSlowly(strings.Split(filter, "/"), strings.Split(topic, "/"))
		if got := fds.MatchBelow(filter, topic); got != want {
			t.Fatalf("filter %q, topic %q: %v, want %v", filter, topic, got, want)
		}
	})
}

func FuzzLevelsComeApartAsTopicJoinedThem(f *testing.F) {
	for _, seed := range []string{"fds/v2/" + lower + "/a/b", "fds/v2/" + lower + "/#", "fds/v2/" + lower + "/$a", "a", "fds/v2/" + lower + "//", "fds/v2/" + lower + "/fds/v2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		id, levels, err := fds.ParseTopic(topic)
		if err != nil {
			if !errors.Is(err, fds.ErrTopic) && !errors.Is(err, fds.ErrSubscriptionID) {
				t.Fatalf("%q: %v is of no class", topic, err)
			}
			return
		}
		if !utf8.ValidString(topic) || strings.ContainsAny(topic, "+#\x00") {
			t.Fatalf("accepted %q", topic)
		}
		root := mustRoot(t, strings.Split(topic, "/")[2])
		if everything, _ := root.Filter("#"); !root.Matches(everything, topic) {
			t.Fatalf("%q is not below its own root", topic)
		}
		if root.String()+strings.Join(levels, "/") != topic || root.SubscriptionID() != id {
			t.Fatalf("%q came apart as %q", topic, levels)
		}
		if slices.ContainsFunc(levels, func(level string) bool { return level == "" || level[0] == '$' }) {
			return // which we name in no topic or filter of ours
		}
		again, err := root.Topic(levels...)
		if err != nil || again != topic || root.SubscriptionID() != id {
			t.Fatalf("%q came back as %q, %v", topic, again, err)
		}
		filter, err := root.Filter(strings.Join(levels, "/"))
		if len(levels) > 1 && strings.EqualFold(levels[0], "fds") && strings.EqualFold(levels[1], "v2") { // see Root.Filter
			if !errors.Is(err, fds.ErrTopic) {
				t.Fatalf("%q as a filter: %q, %v", topic, filter, err)
			}
			return
		}
		if err != nil || !root.Matches(filter, topic) {
			t.Fatalf("%q as a filter: %q, %v", topic, filter, err)
		}
	})
}

func FuzzFiltersStayBelowTheRoot(f *testing.F) {
	for _, seed := range []string{"#", "a/+/b", "../x", "/a", "$share/g/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, below string) {
		root := mustRoot(t, lower)
		filter, err := root.Filter(below)
		if err != nil {
			return
		}
		foreign, _ := mustID(t, other).Root().Topic("a", "b", "c")
		if filter != root.String()+below || root.Matches(filter, foreign) || root.Matches(filter, "fds/v2/"+lower) || root.Matches("#", "$SYS/uptime") {
			t.Fatalf("%q reaches above the root", filter)
		}
	})
}

// TestAttackErrorsAboutTopicsForgeNoLineAndFloodNone: a topic comes from a broker, and
// levels and filters may come from whoever configures an application.
func TestAttackErrorsAboutTopicsForgeNoLineAndFloodNone(t *testing.T) {
	const odd = "\n\x1b[31m\u009b\u202eodd"
	root := mustRoot(t, lower)
	topic := func(levels ...string) error { _, err := root.Topic(levels...); return err }
	filter := func(below string) error { _, err := root.Filter(below); return err }
	levels := func(topic string) error { _, err := root.Levels(topic); return err }
	for name, makes := range map[string]func(odd string) error{
		"a level with a slash":         func(odd string) error { return topic(odd + "/") },
		"a level with a wildcard":      func(odd string) error { return topic(odd + "+") },
		"a level that begins with $":   func(odd string) error { return topic("$" + odd) },
		"a level with NUL":             func(odd string) error { return topic(odd + "\x00") },
		"a level that is no UTF-8":     func(odd string) error { return topic(odd + "\xff") },
		"a filter that goes on":        func(odd string) error { return filter("#/" + odd) },
		"a filter with half a level":   func(odd string) error { return filter(odd + "+") },
		"a filter that begins with $":  func(odd string) error { return filter("$" + odd) },
		"a filter with an empty level": func(odd string) error { return filter(odd + "//") },
		"a filter with NUL":            func(odd string) error { return filter(odd + "\x00") },
		"a foreign topic":              func(odd string) error { return levels("fds/v2/" + other + "/" + odd) },
		"no topic of FDS":              func(odd string) error { return levels(odd) },
		"a topic of no owner":          func(odd string) error { return levels("fds/v2/" + odd + "/a") },
		"a topic without levels":       func(odd string) error { return levels("fds/v2/" + odd) },
		"a topic with a wildcard":      func(odd string) error { return levels("fds/v2/" + lower + "/+" + odd) },
		"a topic with NUL":             func(odd string) error { return levels("fds/v2/" + lower + "/\x00" + odd) },
	} {
		for _, odd := range []string{odd, odd + strings.Repeat("x", 60_000), strings.Repeat(odd, 10_000)} {
			err := makes(odd)
			if err == nil {
				t.Errorf("%s: no error", name)
				continue
			}
			if text := err.Error(); len(text) > 500 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s: an error of %d bytes: %.500q", name, len(text), text)
			}
		}
	}
}
