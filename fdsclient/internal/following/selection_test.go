package following

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// onTopics is a dialect that says on which topics items were published.
var onTopics = fds.Dialect{FromParameter: "from", TimeMember: "generic.date_time", EventTopic: "devices/{device_id}/events", StatusTopic: "devices/{device_id}/status"}

func TestTheTopicsNameWhatIsFetchedAsTheyNameWhatIsPushed(t *testing.T) {
	device := func(id string) fds.Item {
		item, err := fds.ParseItem([]byte(`{"device_id":"` + id + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		return item
	}
	for _, c := range []struct {
		topics       []string
		event, state bool // of device A
	}{
		{nil, true, true},
		{[]string{"#"}, true, true},
		{[]string{"devices/#"}, true, true},
		{[]string{"devices/+/events"}, true, false},
		{[]string{"devices/A/+"}, true, true},
		{[]string{"devices/A/events"}, true, false},
		{[]string{"devices/A/status"}, false, true},
		{[]string{"devices/B/#"}, false, false},
		{[]string{"devices/B/#", "devices/A/status"}, false, true},
		{[]string{"devices"}, false, false},
		{[]string{"+/+/+"}, true, true},
		{[]string{"+"}, false, false},
	} {
		s := selectionOf(c.topics, &onTopics)
		event, _ := s.names(pull.Events, device("A"))
		state, _ := s.names(pull.Statuses, device("A"))
		if event != c.event || state != c.state {
			t.Errorf("%q: names the event %v, the status %v", c.topics, event, state)
		}
		if _, known := s.names(pull.Events, device("A/../B")); known != (len(c.topics) == 0 || c.topics[0] == "#") {
			t.Errorf("%q: the topic of an item of two levels is known: %v", c.topics, known)
		}
	}
}

// TestAttackWhatNoTopicNamesIsNotFetchedEither: a program that wants one device's events is
// given nothing else, whichever way it comes.
func TestAttackWhatNoTopicNamesIsNotFetchedEither(t *testing.T) {
	for name, by := range map[string]struct {
		make    func(*testing.T, func(*config)) *fixture
		deliver func(*testing.T, *Follower)
	}{
		"by a backfill": {pushing, func(t *testing.T, f *Follower) { subscribed(t, f, push.Subscribed{Last: errLost}) }},
		"by a poll":     {polled, func(_ *testing.T, f *Follower) { f.Poll() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lines logged
				all := by.make(t, func(c *config) {
					c.Dialect, c.Topics = onTopics, []string{"devices/A/events", "devices/+/status"}
					lines.on(c, slog.LevelWarn)
				})
				var got handled
				var items []string
				api := &webAPI{answer: func(_ fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
					return 200, strings.ReplaceAll("["+strings.Join(items, ",")+"]", "KIND", string(kind))
				}}
				f := followed(t, all, api, got.handle)
				defer f.Stop()
				pass(time.Minute)
				for _, device := range []string{`"A"`, `"B"`, `"A/events/x"`, `"+"`, `null`, `["A"]`} {
					items = append(items, fmt.Sprintf(`{"message_id":%q,"device_id":%s,"generic":{"date_time":%q}}`, "KIND of "+device, device, time.Now().UTC().Format(time.RFC3339)))
				}
				by.deliver(t, f)
				pass(time.Minute)
				for id, want := range map[string]int{`events of \"A\"`: 1, `events of \"B\"`: 0, `statuses of \"A\"`: 1, `statuses of \"B\"`: 1, `/x\"`: 0, `\"+\"`: 0, "null": 0, "[": 0} {
					if n := got.has(id); n != want {
						t.Errorf("%s: handed over %d times, want %d", id, n, want)
					}
				}
				if text := lines.String(); !strings.Contains(text, "EventTopic") || !strings.Contains(text, "items=4") {
					t.Errorf("the items whose topic is not known are not told of:\n%s", text)
				}
			})
		})
	}
}

func TestTopicsThatNobodyCanHoldItemsAgainstAreAnErrorThatNamesTheSetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook, told := new(polls), new(gaps)
		for name, dialect := range map[string]fds.Dialect{"EventTopic": {StatusTopic: "status"}, "StatusTopic": {EventTopic: "events"}} {
			var got handled
			api := &webAPI{answer: oneEach}
			poll := polled(t, func(c *config) { c.Dialect, c.Topics = dialect, []string{"events", "status"}; hook.on(c) })
			f := followed(t, poll, api, got.handle)
			f.Poll()
			time.Sleep(10 * time.Minute)
			f.Stop()
			hook.mu.Lock()
			last := hook.all[len(hook.all)-1]
			hook.mu.Unlock()
			if !errors.Is(last.Err, fds.ErrConfig) || !strings.Contains(last.Err.Error(), name) {
				t.Errorf("%s: a poll told %v", name, last.Err)
			}
			if len(got.messages) == 0 {
				t.Errorf("%s: the other list is not polled", name)
			}
			for _, m := range got.messages {
				if (m.Kind == "event") != (dialect.EventTopic != "") {
					t.Errorf("%s: a poll handed over %s", name, m.Payload)
				}
			}
			push := pushing(t, func(c *config) { c.Dialect, c.Topics = dialect, []string{"events", "status"}; told.on(c) })
			f = followed(t, push, api, got.handle)
			outage(t, f)
			time.Sleep(10 * time.Minute)
			open := f.open()
			f.Stop()
			told.mu.Lock()
			failed := told.events[len(told.events)-1]
			told.mu.Unlock()
			if !open || !errors.Is(failed.Err, fds.ErrConfig) || !strings.Contains(failed.Err.Error(), name) || !failed.RetryAt.IsZero() {
				t.Errorf("%s: the gap is open %v; told %v, to be tried again at %v", name, open, failed.Err, failed.RetryAt)
			}
		}
	})
}

// TestAttackAListOfNobodyKnowsWhomIsNotHandedOver: with a joint grant, and with what an item
// says of its owner at most.
func TestAttackAListOfNobodyKnowsWhomIsNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, member := range map[string]string{"items do not say": "", "some items say": "owner"} {
			hook, told := new(polls), new(gaps)
			dialect := byDate
			dialect.SubscriptionMember = member
			api := &webAPI{answer: func(owner fds.OwnerKey, kind pull.Kind, _ *http.Request) (int, string) {
				at := time.Now().UTC().Format(time.RFC3339)
				return 200, fmt.Sprintf(`[{"message_id":"nobody's","generic":{"date_time":%q}},{"message_id":"own %s","owner":%q,"generic":{"date_time":%[1]q}},{"message_id":"another's","owner":%[4]q,"generic":{"date_time":%[1]q}}]`,
					at, kind, owner.SubscriptionID, fds.NewSubscriptionID())
			}}
			var got handled
			poll := polled(t, func(c *config) { c.Dialect, c.Shared = dialect, joint; hook.on(c) })
			f := followed(t, poll, api, got.handle)
			f.Poll()
			time.Sleep(10 * time.Minute)
			f.Stop()
			hook.mu.Lock()
			last := hook.all[len(hook.all)-1].Err
			hook.mu.Unlock()
			if !errors.Is(last, fds.ErrOwner) || got.has("nobody's") > 0 || got.has("another's") > 0 || (got.has("own events") > 0) != (member != "") {
				t.Errorf("%s: a poll told %v; handed over %q", name, last, got.messages)
			}
			got.messages = nil
			push := pushing(t, func(c *config) { c.Dialect, c.Shared = dialect, joint; told.on(c) })
			f = followed(t, push, api, got.handle)
			outage(t, f)
			time.Sleep(10 * time.Minute)
			told.mu.Lock()
			failed := told.events[len(told.events)-1].Err
			told.mu.Unlock()
			if !f.open() || !errors.Is(failed, fds.ErrOwner) || got.has("nobody's") > 0 || got.has("another's") > 0 || (got.has("own events") > 0) != (member != "") {
				t.Errorf("%s: the gap is open %v; told %v; handed over %q", name, f.open(), failed, got.messages)
			}
			f.Stop()
		}
	})
}
