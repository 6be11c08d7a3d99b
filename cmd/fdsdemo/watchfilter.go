package main

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// watchFilter is what watch shows, and when it ends. What it does not show it takes all the same:
// the broker keeps one queue for all that is subscribed to.
type watchFilter struct {
	topics, types, devices []string
	severities             []string
	most                   int           // messages shown; 0: without end
	duration               time.Duration // 0: without end

	mu    sync.Mutex
	shown int
}

// add adds the flags to a command, and has them checked before it runs.
func (f *watchFilter) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.topics, "topic", nil, "show only what comes on topics below the owner's root that fit this MQTT `filter`, such as 'devices/+/status'; of what is fetched, as provider.dialect.event_topic and status_topic have it; may be repeated")
	c.Flags().StringArrayVar(&f.types, "type", nil, "show only devices of this device `type`; may be repeated")
	c.Flags().StringArrayVar(&f.devices, "device", nil, "show only the device of this `ID`; may be repeated")
	c.Flags().StringArrayVar(&f.severities, "severity", nil, "show only events of this `severity` and graver ones, such as warning; or of a word that the provider has and RFC 5424 has not; may be repeated")
	completes(c, "severity", cobra.FixedCompletions(severityWords, cobra.ShellCompDirectiveNoFileComp))
	c.Flags().IntVarP(&f.most, "count", "n", 0, "end after this `number` of messages")
	c.Flags().DurationVar(&f.duration, "for", 0, "end after this `time`, such as 30s")
	c.PreRunE = func(c *cobra.Command, _ []string) error { return f.check(c.Flags().Changed) }
}

// check refuses what could never show anything.
func (f *watchFilter) check(given func(flag string) bool) error {
	root := fds.NewSubscriptionID().Root() // of anybody: what is below is checked
	for _, topic := range f.topics {
		if _, err := root.Filter(topic); err != nil {
			return wrongUsage("--topic: %v", err)
		}
	}
	for flag, list := range map[string][]string{"--type": f.types, "--device": f.devices, "--severity": f.severities} {
		if slices.Contains(list, "") {
			return wrongUsage("%s names nothing", flag)
		}
	}
	switch {
	case given("count") && f.most < 1:
		return wrongUsage("--count is %d; it is at least 1", f.most)
	case given("for") && f.duration <= 0:
		return wrongUsage("--for is %v; it is more than nothing", f.duration)
	}
	return nil
}

// words are the flags by which messages are chosen.
func (f *watchFilter) words() string {
	var words []string
	for _, flag := range []struct {
		name   string
		values []string
	}{{"topic", f.topics}, {"type", f.types}, {"device", f.devices}, {"severity", f.severities}} {
		for _, value := range flag.values {
			words = append(words, "--"+flag.name, terminal.Short(value))
		}
	}
	return strings.Join(words, " ")
}

// ends reports whether watch ends by itself.
func (f *watchFilter) ends() bool { return f.most > 0 || f.duration > 0 }

// wants reports whether a message is shown.
func (f *watchFilter) wants(m delivery.Message, dialect fds.Dialect) bool {
	if len(f.topics) > 0 && !f.fits(m, dialect) || len(f.severities) > 0 && !f.isGrave(m, dialect) {
		return false
	}
	if len(f.types) == 0 && len(f.devices) == 0 {
		return true
	}
	device, err := fds.ParseDevice(m.Payload, dialect)
	return err == nil &&
		(len(f.devices) == 0 || slices.Contains(f.devices, device.ID())) &&
		(len(f.types) == 0 || slices.Contains(f.types, string(device.Type())))
}

// checkDialect refuses what cannot be told of this provider's messages, which are polled or not.
func (f *watchFilter) checkDialect(d fds.Dialect, polled bool) error {
	if len(f.topics) > 0 && polled && d.EventTopic == "" && d.StatusTopic == "" {
		return wrongUsage("--topic is of no use where items are polled, without the topics on which the provider would publish them; set provider.dialect.event_topic and status_topic")
	}
	if len(f.severities) > 0 && d.SeverityMember == "" {
		return wrongUsage("--severity is of no use without the name of the member that has it, which FDS leaves open; set provider.dialect.severity_member")
	}
	return nil
}

// isGrave reports whether an event has one of the severities, or a graver one. A word that is not
// known may be graver than any that is.
func (f *watchFilter) isGrave(m delivery.Message, dialect fds.Dialect) bool {
	item, err := fds.ParseItem(m.Payload)
	if err != nil {
		return false
	}
	word := dialect.Severity(item)
	if word == "" {
		return false
	}
	grade, known := gradeOf(word)
	return slices.ContainsFunc(f.severities, func(wanted string) bool {
		least, ordered := gradeOf(wanted)
		switch {
		case strings.EqualFold(wanted, word):
			return true
		case !ordered:
			return false
		}
		return !known || grade <= least
	})
}

// fits reports whether a message came on one of the topics, or would have, as the dialect has it;
// one whose topic is not known fits none.
func (f *watchFilter) fits(m delivery.Message, dialect fds.Dialect) bool {
	below := strings.Join(m.Levels, "/")
	if len(m.Levels) == 0 { // it was fetched
		item, err := m.Item()
		if err != nil {
			return false
		}
		known := false
		switch m.Kind {
		case delivery.KindEvent:
			below, known = dialect.TopicOfEvent(item)
		case delivery.KindStatus:
			below, known = dialect.TopicOfStatus(item)
		}
		if !known {
			return false
		}
	}
	root := m.Owner.SubscriptionID.Root()
	return slices.ContainsFunc(f.topics, func(topic string) bool {
		return root.Matches(root.String()+topic, root.String()+below)
	})
}

// take counts a message that is to be shown, unless there were enough; last: it is the last one.
func (f *watchFilter) take() (ok, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most > 0 && f.shown == f.most {
		return false, false
	}
	f.shown++
	return true, f.shown == f.most
}
