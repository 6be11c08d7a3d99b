package fds

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	topicPrefix = "fds/v2/"

	// MaxTopicBytes bounds a topic or filter in UTF-8 (MQTT 5.0 section 1.5.4).
	MaxTopicBytes = 65535
)

// Root is the tree of topics of one resource owner, fds/v2/<subscription_id>/
// (M5). It spells the subscription ID as the provider does, because brokers
// compare topics and client IDs byte by byte. The zero value is unusable.
type Root struct {
	id       SubscriptionID
	spelling string
}

// ParseRoot makes the root from a subscription ID as the provider spells it.
// Errors match ErrSubscriptionID.
func ParseRoot(spelling string) (Root, error) {
	id, err := ParseSubscriptionID(spelling)
	if err != nil {
		return Root{}, err
	}
	return Root{id: id, spelling: spelling}, nil
}

// Root returns the topic tree of id, spelt in lower case.
func (id SubscriptionID) Root() Root { return Root{id: id, spelling: id.String()} }

// SubscriptionID returns the ID whose tree this is.
func (r Root) SubscriptionID() SubscriptionID { return r.id }

// ClientID returns the subscription ID as the provider spells it: the MQTT client
// ID of the owner's connection (M4).
func (r Root) ClientID() string { return r.spelling }

// String returns the prefix of all topics of the owner, with the slash at its
// end.
func (r Root) String() string { return topicPrefix + r.spelling + "/" }

// Topic joins levels below the root to a topic name. A level must not be empty,
// hold a slash, a wildcard, NUL or invalid UTF-8, or begin with $. Errors match
// ErrTopic.
func (r Root) Topic(levels ...string) (string, error) {
	if r.id.IsZero() {
		return "", fmt.Errorf("fds: topic: %w: no subscription ID", ErrSubscriptionID)
	}
	if len(levels) == 0 {
		return "", fmt.Errorf("fds: topic: %w: name at least one level below %s", ErrTopic, r)
	}
	for _, level := range levels {
		if strings.Contains(level, "/") {
			return "", fmt.Errorf("fds: topic: %w: level %s holds a slash; pass it as two levels", ErrTopic, quoteBounded(level))
		}
		if strings.ContainsAny(level, "+#") {
			return "", fmt.Errorf("fds: topic: %w: level %s holds a wildcard, which only a filter may", ErrTopic, quoteBounded(level))
		}
		if err := checkLevel(level); err != nil {
			return "", fmt.Errorf("fds: topic: %w", err)
		}
	}
	return r.bounded(strings.Join(levels, "/"))
}

// Filter makes a topic filter from the levels below the root, written with
// slashes: "#", "devices/+/status". The wildcard + stands for one whole level,
// # for all that follow and only at the end; they match empty levels and those that
// begin with $ too, which cannot be named. Nothing above the root can be
// expressed, and no shared subscription; a filter that begins with fds/v2, whosever's,
// is refused since it would match nothing. Errors match ErrTopic.
func (r Root) Filter(below string) (string, error) {
	if r.id.IsZero() {
		return "", fmt.Errorf("fds: filter: %w: no subscription ID", ErrSubscriptionID)
	}
	if repeatsRoot(below) {
		return "", fmt.Errorf(`fds: filter %s: %w: topics are below fds/v2/<subscription_id>/ already; write "#" or "devices/+/events"`, quoteBounded(below), ErrTopic)
	}
	levels := strings.Split(below, "/")
	for i, level := range levels {
		switch {
		case level == "+":
		case level == "#":
			if i != len(levels)-1 {
				return "", fmt.Errorf("fds: filter %s: %w: # stands only at the end", quoteBounded(below), ErrTopic)
			}
		case strings.ContainsAny(level, "+#"):
			return "", fmt.Errorf("fds: filter %s: %w: a wildcard fills a whole level", quoteBounded(below), ErrTopic)
		default:
			if err := checkLevel(level); err != nil {
				return "", fmt.Errorf("fds: filter %s: %w", quoteBounded(below), err)
			}
		}
	}
	return r.bounded(below)
}

// repeatsRoot reports whether a filter begins with what stands before each already,
// whosever's, in whatever letters, and with a slash in front or without.
func repeatsRoot(below string) bool {
	rest, begun := strings.TrimLeft(below, "/")+"/", len(topicPrefix)
	return len(rest) >= begun && strings.EqualFold(rest[:begun], topicPrefix)
}

func (r Root) bounded(below string) (string, error) {
	topic := r.String() + below
	if len(topic) > MaxTopicBytes {
		return "", fmt.Errorf("fds: topic: %w: %d bytes, MQTT allows %d", ErrTopic, len(topic), MaxTopicBytes)
	}
	return topic, nil
}

// Levels returns the levels of topic below the root. A topic of another owner matches
// ErrForeignTopic, a malformed one ErrTopic. So does ErrForeignTopic match one with the root's
// own subscription ID in other letters, upper case for lower: it is the same ID, but MQTT is
// case-sensitive, no filter below this root matches such a topic, and what comes under it has
// passed access rules for another name.
func (r Root) Levels(topic string) ([]string, error) {
	if below, ok := r.below(topic); ok && len(topic) <= MaxTopicBytes && !r.id.IsZero() {
		if levels, err := parseLevels(below); err == nil {
			return levels, nil
		}
	}
	switch id, _, err := parseTopic(topic); { // what is wrong with it
	case err != nil:
		return nil, err
	case id != r.id:
		return nil, fmt.Errorf("fds: topic %s: %w: expected one below %s", quoteBounded(topic), ErrForeignTopic, r)
	}
	return nil, fmt.Errorf("fds: topic %s: %w: it spells the subscription ID in other letters than %s, and MQTT is case-sensitive", quoteBounded(topic), ErrForeignTopic, r)
}

// parseTopic takes a topic name apart: whose it is and the levels below the
// root, at least one. They are the provider's own, so that all is taken which MQTT
// allows, empty levels too, "..", and those that begin with $ (MQTT 5.0 section 4.7): no
// level is safe as the name of a file. The ID is read in upper and lower case; see
// Root.Levels.
// Wildcards, NUL, invalid UTF-8 and topics over MaxTopicBytes are refused. Errors
// match ErrTopic or ErrSubscriptionID.
func parseTopic(topic string) (SubscriptionID, []string, error) {
	fail := func(err error) (SubscriptionID, []string, error) {
		return SubscriptionID{}, nil, fmt.Errorf("fds: topic %s: %w", quoteBounded(topic), err)
	}
	if len(topic) > MaxTopicBytes {
		return fail(fmt.Errorf("%w: %d bytes, MQTT allows %d", ErrTopic, len(topic), MaxTopicBytes))
	}
	rest, ok := strings.CutPrefix(topic, topicPrefix)
	if !ok {
		return fail(fmt.Errorf("%w: it does not begin with %s", ErrTopic, topicPrefix))
	}
	spelling, below, ok := strings.Cut(rest, "/")
	if !ok {
		return fail(fmt.Errorf("%w: nothing below the subscription ID", ErrTopic))
	}
	id, err := ParseSubscriptionID(spelling)
	if err != nil {
		return fail(err)
	}
	levels, err := parseLevels(below)
	if err != nil {
		return fail(err)
	}
	return id, levels, nil
}

// parseLevels takes apart what is below a root.
func parseLevels(below string) ([]string, error) {
	if strings.ContainsAny(below, "+#") {
		return nil, fmt.Errorf("%w: a topic name holds no wildcard", ErrTopic)
	}
	if err := checkText(below); err != nil {
		return nil, err
	}
	return strings.Split(below, "/"), nil
}

// below returns what follows the root in topic; false: it does not begin with it.
func (r Root) below(topic string) (string, bool) {
	rest, ok := strings.CutPrefix(topic, topicPrefix)
	rest, own := strings.CutPrefix(rest, r.spelling)
	below, slash := strings.CutPrefix(rest, "/")
	return below, ok && own && slash
}

// Matches reports whether topic is below the root and matches a filter that Filter made, by
// the rules of MQTT 5.0 section 4.7. A filter in which # is not the end matches nothing.
func (r Root) Matches(filter, topic string) bool {
	if _, ok := r.below(topic); !ok {
		return false
	}
	for {
		f, filterRest, filterMore := strings.Cut(filter, "/")
		if f == "#" {
			return !filterMore
		}
		t, topicRest, topicMore := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		if !filterMore {
			return !topicMore
		}
		if !topicMore {
			return filterRest == "#" // a/# matches its parent a
		}
		filter, topic = filterRest, topicRest
	}
}

// checkLevel refuses what no level of ours may hold: an empty one is a slash too
// many, and one that begins with $ is none of FDS.
func checkLevel(level string) error {
	switch {
	case level == "":
		return fmt.Errorf("%w: it has an empty level", ErrTopic)
	case strings.HasPrefix(level, "$"):
		return fmt.Errorf("%w: level %s begins with $", ErrTopic, quoteBounded(level))
	}
	return checkText(level)
}

// checkText refuses what no text of MQTT may hold (MQTT 5.0 section 1.5.4).
func checkText(level string) error {
	switch {
	case strings.IndexByte(level, 0) >= 0:
		return fmt.Errorf("%w: it holds NUL", ErrTopic)
	case !utf8.ValidString(level):
		return fmt.Errorf("%w: it is not valid UTF-8", ErrTopic)
	}
	return nil
}
