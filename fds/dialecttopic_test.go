package fds_test

import (
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

func TestTheTopicOfAnItemIsKnownWhereItsTemplateCanBeFilled(t *testing.T) {
	for _, test := range []struct{ template, item, want string }{
		{"devices/{device_id}/events", `{"device_id":"D1"}`, "devices/D1/events"},
		{"devices/{generic.device_id}", `{"generic":{"device_id":17}}`, "devices/17"},
		{"{a}-{b}/{a}", `{"a":"x","b":"y z"}`, "x-y z/x"},
		{"events", `{}`, "events"},
		{"{a}", `{"a":"\u00e4"}`, "ä"},
		{"{a}", `{"a":"$x"}`, "$x"},
		{"{a}", `{"a":"{b}","b":"c"}`, "{b}"},
		{"", `{"a":"x"}`, ""},
		{"devices/{device_id}", `{}`, ""},
		{"devices/{device_id}", `{"device_id":null}`, ""},
		{"devices/{device_id}", `{"device_id":["D1"]}`, ""},
		{"devices/{device_id}", `{"device_id":true}`, ""},
		{"devices/{device_id}", `{"generic":{"device_id":"D1"}}`, ""},
		{"{a", `{"a":"x"}`, ""},
	} {
		d, other := fds.Dialect{EventTopic: test.template, StatusTopic: "another"}, fds.Dialect{StatusTopic: test.template, EventTopic: "another"}
		item := mustItem(t, test.item)
		topic, known := d.TopicOfEvent(item)
		status, alike := other.TopicOfStatus(item)
		if topic != test.want || known != (test.want != "") || status != topic || alike != known {
			t.Errorf("%s of %s: %q, %v; as a status %q, %v", test.template, test.item, topic, known, status, alike)
		}
	}
}

// TestAttackNoItemNamesATopicOfMoreLevelsOrAWildcard: what is held against the topics that
// a caller wanted is one topic, whatever an item holds.
func TestAttackNoItemNamesATopicOfMoreLevelsOrAWildcard(t *testing.T) {
	d := fds.Dialect{EventTopic: "devices/{id}/events"}
	for _, value := range []string{"", "a/b", "/", "+", "a+", "#", `a\u0000`, `\u002f`, strings.Repeat("x", fds.MaxTopicBytes)} {
		if topic, known := d.TopicOfEvent(mustItem(t, `{"id":"`+value+`"}`)); known {
			t.Errorf("%.20q: the topic %.80q", value, topic)
		}
	}
}

func TestATemplateThatIsNoTopicIsAFault(t *testing.T) {
	for template, want := range map[string]string{
		"fds/v2/x/devices":                       "write what follows the subscription ID",
		"devices/#":                              "wildcard",
		"devices/+/events":                       "wildcard",
		"devices//events":                        "empty level",
		"/devices":                               "empty level",
		"devices/":                               "empty level",
		"$share/a":                               "begins with $",
		"devices/{device_id":                     "no }",
		"devices/device_id}":                     "no {",
		"devices/{}":                             "name of a member",
		"devices/{a..b}":                         "name of a member",
		"devices/{a{b}}":                         "name of a member",
		"devices/{a/b}":                          "no }",
		"a\x00":                                  "NUL",
		"a\xff":                                  "UTF-8",
		strings.Repeat("x", fds.MaxTopicBytes+1): "MQTT allows",
	} {
		for setting, d := range map[string]fds.Dialect{"EventTopic": {EventTopic: template}, "StatusTopic": {StatusTopic: template}} {
			faults := d.Faults()
			if len(faults) != 1 || !strings.HasPrefix(faults[0].String(), setting) || !strings.Contains(faults[0].String(), want) || len(faults[0].String()) > 400 {
				t.Errorf("%.50q: %.500q, want %q", template, faults, want)
			}
		}
	}
}
