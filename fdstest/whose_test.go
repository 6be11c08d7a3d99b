package fdstest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

var ownedLists = []string{"specifications", "statuses", "statistics", "diagnostics", "spaces", "events", "tag"}

// bearerOf returns a token of several owners.
func bearerOf(t *testing.T, p *fdstest.Provider, owners ...fdstest.Owner) string {
	t.Helper()
	tokens, err := p.IssueTokens(p.PublicApplication().ID, owners...)
	if err != nil {
		t.Fatal(err)
	}
	return tokens.AccessToken
}

// ownersOf counts the items of a list by the owner whom they name, below the root with
// dots.
func ownersOf(t *testing.T, list, member string) map[string]int {
	t.Helper()
	var items []any
	if err := json.Unmarshal([]byte(list), &items); err != nil {
		t.Fatalf("%v: %.200s", err, list)
	}
	named := make(map[string]int)
	for _, item := range items {
		for name := range strings.SplitSeq(member, ".") {
			object, _ := item.(map[string]any)
			item = object[name]
		}
		name, _ := item.(string)
		named[name]++
	}
	return named
}

func TestEveryItemAndMessageNamesItsOwnerAndEventSpecificationsNobody(t *testing.T) {
	for _, member := range []string{"", "owner", "generic.subscription", "whose.is.it"} {
		a := start(t, fdstest.Options{
			Devices: 20, WebAPI: fdstest.WebAPI{SubscriptionMember: member},
			Owners: []fdstest.Owner{{Name: "North"}, {Name: "South", Spelling: strings.ToUpper(fds.NewSubscriptionID().String())}},
		})
		if member == "" {
			member = "subscription_id"
		}
		owners := a.p.Owners()
		r := &reader{a, bearerOf(t, a.p, owners...)}
		if ans := r.send(http.MethodPost, "tag", `{"generic":{}}`); ans.status != http.StatusCreated {
			t.Fatalf("%d %s", ans.status, ans.body)
		}
		for _, list := range ownedLists {
			ans := r.read(list)
			named := ownersOf(t, ans.body, member)
			if all := named[owners[0].Spelling] + named[owners[1].Spelling]; all == 0 || named[""] > 0 || len(named) > 2 {
				t.Errorf("%s in %s: %v", list, member, named)
			}
		}
		if named := ownersOf(t, r.read("event_specifications").body, member); len(named) != 1 || named[""] == 0 {
			t.Errorf("event specifications name %v", named)
		}
		moved := a.p.Step(time.Hour)
		if len(moved) == 0 {
			t.Fatal("nothing was published")
		}
		for _, m := range moved {
			if named := ownersOf(t, "["+string(m.Payload)+"]", member); named[m.Owner.Spelling] != 1 {
				t.Errorf("%s is named in a message to %s", m.Payload, m.Owner.Spelling)
			}
		}
		if d := a.p.Dialect(); d.SubscriptionMember != member || len(d.Faults()) > 0 {
			t.Errorf("the dialect is %+v", d)
		}
	}
}

func TestAnItemGivenByHandGetsTheMemberThatItLacksAndNothingElse(t *testing.T) {
	for _, c := range []struct{ member, item, want string }{
		{"", `{"device_id":"a"}`, `{"subscription_id":"ID","device_id":"a"}`},
		{"", " {\n \"device_id\" : \"a\" , \"x\":1.50}\n", ` {"subscription_id":"ID",` + "\n \"device_id\" : \"a\" , \"x\":1.50}\n"},
		{"", `{"device_id":"a","subscription_id":null}`, `{"device_id":"a","subscription_id":null}`},
		{"", `{"device_id":"a","generic":{"subscription_id":"x"}}`, `{"subscription_id":"ID","device_id":"a","generic":{"subscription_id":"x"}}`},
		{"generic.of", `{"device_id":"a","generic":{ }}`, `{"device_id":"a","generic":{"of":"ID" }}`},
		{"generic.of", `{"device_id":"a","generic":{"n":"}"}}`, `{"device_id":"a","generic":{"of":"ID","n":"}"}}`},
		{"generic.of", `{"device_id":"a"}`, `{"generic":{"of":"ID"},"device_id":"a"}`},
		{"generic.of", `{"device_id":"a","generic":7}`, `{"device_id":"a","generic":7}`},
		{"generic.of", `{"device_id":"a","generic":{"of":7}}`, `{"device_id":"a","generic":{"of":7}}`},
		{`o"f`, `{"device_id":"a"}`, `{"o\"f":"ID","device_id":"a"}`},
	} {
		r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{SubscriptionMember: c.member}})
		owner := r.p.Owners()[0]
		if err := r.p.AddDevice(owner, []byte(c.item)); err != nil {
			t.Fatal(err)
		}
		want := "[" + strings.ReplaceAll(c.want, "ID", owner.Spelling) + "]"
		if got := r.read("specifications").body; got != want {
			t.Errorf("%s in %q:\n%s, want\n%s", c.item, c.member, got, want)
		}
	}
}

func TestTheParameterNarrowsATokenToOneOfItsOwners(t *testing.T) {
	a := start(t, fdstest.Options{Devices: 20, WebAPI: fdstest.WebAPI{SubscriptionParameter: "owner", SubscriptionMember: "owner"}})
	owners := a.p.Owners()
	r := &reader{a, bearerOf(t, a.p, owners[0], owners[1])}
	for _, list := range append(ownedLists, "event_specifications") {
		second := r.read(list + "?owner=" + strings.ToUpper(owners[1].Spelling))
		if named := ownersOf(t, second.body, "owner"); list != "tag" && (len(named) != 1 || named[owners[1].Spelling] == 0 && list != "event_specifications") {
			t.Errorf("%s of one owner names %v", list, named)
		}
		if both := ownersOf(t, r.read(list).body, "owner"); list != "tag" && list != "event_specifications" && len(both) != 2 {
			t.Errorf("%s without the parameter names %v", list, both)
		}
		r.read(list+"?owner="+owners[2].Spelling).refused(t, "another owner's "+list, 403, "forbidden")
		r.read(list+"?owner=").refused(t, list+" of nobody", 400, "invalid_parameter_value")
		r.read(list+"?owner=north").refused(t, list+" of what is no ID", 400, "invalid_parameter_value")
		r.read(list+"?owner="+owners[0].Spelling+"&owner="+owners[1].Spelling).refused(t, list+" of two", 400, "duplicate_parameter")
	}
	newReader(t, fdstest.Options{}).read("spaces?owner="+owners[0].Spelling).refused(t, "no such parameter", 400, "invalid_parameter")

	of := func(o fdstest.Owner) string { return "?" + url.Values{"owner": {o.Spelling}}.Encode() }
	made := r.send(http.MethodPost, "tag"+of(owners[1]), `{"generic":{}}`)
	id, _ := made.json(t)["tag_id"].(string)
	if made.status != http.StatusCreated || ownersOf(t, "["+made.body+"]", "owner")[owners[1].Spelling] != 1 {
		t.Fatalf("made: %d %s", made.status, made.body)
	}
	r.send(http.MethodPost, "tag"+of(owners[2]), `{"generic":{}}`).refused(t, "a tag for another owner", 403, "forbidden")
	r.send(http.MethodPut, "tag/"+id+"/entities"+of(owners[0]), `[]`).refused(t, "the other owner's tag", 404, "not_found")
	if ans := r.send(http.MethodPut, "tag/"+id+"/entities"+of(owners[1]), `[]`); ans.status != http.StatusOK {
		t.Errorf("filled: %d %s", ans.status, ans.body)
	}
	r.send(http.MethodDelete, "tag/"+id+of(owners[0]), "").refused(t, "the other owner's tag", 404, "not_found")
	if ans := r.send(http.MethodDelete, "tag/"+id+of(owners[1]), ""); ans.status != http.StatusNoContent {
		t.Errorf("deleted: %d %s", ans.status, ans.body)
	}
	if d := a.p.Dialect(); d.SubscriptionParameter != "owner" {
		t.Errorf("the dialect is %+v", d)
	}
}

func TestANewTagBelongsToTheOwnerThatItNames(t *testing.T) {
	a := start(t, fdstest.Options{Devices: -1})
	owners := a.p.Owners()
	r := &reader{a, bearerOf(t, a.p, owners[0], owners[1])}
	for body, owner := range map[string]fdstest.Owner{
		`{"generic":{}}`: owners[0], `{"subscription_id":"` + strings.ToUpper(owners[1].Spelling) + `","generic":{}}`: owners[1],
	} {
		ans := r.send(http.MethodPost, "tag", body)
		id, _ := ans.json(t)["tag_id"].(string)
		other := &reader{a, bearerOf(t, a.p, owner)}
		if ans.status != http.StatusCreated || !strings.Contains(other.read("tag?ids="+id).body, id) {
			t.Errorf("%s: %d %s", body, ans.status, ans.body)
		}
	}
	for _, value := range []string{`"` + owners[2].Spelling + `"`, `"north"`, `7`, `null`} {
		r.send(http.MethodPost, "tag", `{"subscription_id":`+value+`,"generic":{}}`).refused(t, "for "+value, 403, "forbidden")
	}
}

func TestItemsNameNobodyOrSomebodyElseWhereAFaultSaysSo(t *testing.T) {
	a := start(t, fdstest.Options{Devices: -1})
	owner := a.p.Owners()[0]
	r := &reader{a, tokenOf(t, a.p, owner)}
	for _, id := range []string{"A", "B", "C"} {
		r.addDevice(id)
	}
	isB := func(item []byte) bool { return bytes.Contains(item, []byte(`"B"`)) }
	for _, c := range []struct {
		fault fdstest.Fault
		want  map[string]int
	}{
		{fdstest.NamelessItems(nil), map[string]int{"": 3}},
		{fdstest.NamelessItems(isB), map[string]int{"": 1, owner.Spelling: 2}},
		{fdstest.NamelessItems(nil).Times(2), map[string]int{"": 2, owner.Spelling: 1}},
		{fdstest.ItemSubscription("x", isB), map[string]int{"x": 1, owner.Spelling: 2}},
		{fdstest.ItemSubscription(nil, nil), map[string]int{"": 3}},
	} {
		off := a.p.Inject(c.fault)
		named := ownersOf(t, r.read("specifications").body, "subscription_id")
		if len(named) != len(c.want) {
			t.Errorf("%v: %v", c.fault, named)
		}
		for name, n := range c.want {
			if named[name] != n {
				t.Errorf("%v: %v, want %v", c.fault, named, c.want)
			}
		}
		off()
	}
	off := a.p.Inject(fdstest.NamelessItems(nil))
	if got := r.read("specifications?ids=A").body; got != `[{"device_id":"A"}]` {
		t.Errorf("without the member it is %s", got)
	}
	s, _ := mustConnect(t, a.p, owner)
	if err := s.subscribe(t, owner.Topic("#")); err != nil {
		t.Fatal(err)
	}
	if err := a.p.SetStatus(owner, []byte(`{"device_id":"A"}`)); err != nil {
		t.Fatal(err)
	}
	if m := s.receive(t); string(m.Payload) != `{"device_id":"A"}` {
		t.Errorf("the message is %s", m.Payload)
	}
	off()
	if named := ownersOf(t, r.read("statuses").body, "subscription_id"); named[owner.Spelling] != 1 {
		t.Errorf("switched off, %v are named", named)
	}
	defer func() {
		if recover() == nil {
			t.Error("the fault is taken where no item has the member")
		}
	}()
	newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{SubscriptionParameter: "owner"}}).p.Inject(fdstest.NamelessItems(nil))
}

func TestMembersThatCannotNameAnOwnerAreRefused(t *testing.T) {
	for _, member := range []string{"generic", "device_id", "space_id.x", ".x", "x.", "a..b", "."} {
		if p, err := fdstest.Start(fdstest.Options{WebAPI: fdstest.WebAPI{SubscriptionMember: member}}); err == nil {
			p.Close()
			t.Errorf("%q is taken", member)
		}
	}
	if p, err := fdstest.Start(fdstest.Options{WebAPI: fdstest.WebAPI{SubscriptionParameter: "ids"}}); err == nil {
		p.Close()
		t.Error("ids is taken")
	}
}
