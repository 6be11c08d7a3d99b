package broker

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

// ErrTopic is the class of errors about a topic on which no provider may
// publish.
var ErrTopic = errors.New("topic not allowed")

const (
	topicPrefix   = "fds/v2/"
	maxTopicBytes = 65535 // MQTT 5.0 section 1.5.4
)

// topicRoot is all that a client may see (M5).
func topicRoot(clientID string) string { return topicPrefix + clientID + "/" }

// topicOwner finds whose topic it is: the client ID below whose root it lies.
// The ID is taken as it is spelt and not yet checked.
func topicOwner(topic string) (clientID string, err error) {
	if err := checkTopic(topic); err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(topic, topicPrefix)
	clientID, _, below := strings.Cut(rest, "/")
	if !ok || !below {
		return "", fmt.Errorf("%w: it is not below %s<subscription ID>/", ErrTopic, topicPrefix)
	}
	return clientID, nil
}

// checkTopic holds a topic name to MQTT 5.0 section 4.7.
func checkTopic(topic string) error {
	switch {
	case topic == "" || len(topic) > maxTopicBytes:
		return fmt.Errorf("%w: it has %d bytes, MQTT takes 1 to %d", ErrTopic, len(topic), maxTopicBytes)
	case !validString(topic):
		return fmt.Errorf("%w: it is not valid UTF-8 without NUL", ErrTopic)
	case strings.ContainsAny(topic, "+#"):
		return fmt.Errorf("%w: it holds a wildcard", ErrTopic)
	}
	return nil
}

// validFilter reports whether a topic filter is well formed (MQTT 5.0 section
// 4.7.1).
func validFilter(filter string) bool {
	for level := range strings.SplitSeq(filter, "/") {
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return false
		}
	}
	hash := strings.IndexByte(filter, '#')
	return filter != "" && (hash < 0 || hash == len(filter)-1)
}

// matches reports whether a topic name matches a well-formed filter. Both lie
// below a root, so the rule about a leading $ never applies.
func matches(filter, topic string) bool {
	for {
		wanted, filterRest, filterGoesOn := strings.Cut(filter, "/")
		if wanted == "#" {
			return true
		}
		level, topicRest, topicGoesOn := strings.Cut(topic, "/")
		switch {
		case wanted != "+" && wanted != level:
			return false
		case !topicGoesOn:
			return !filterGoesOn || filterRest == "#" // a/# matches its parent a
		case !filterGoesOn:
			return false
		}
		filter, topic = filterRest, topicRest
	}
}

// shared returns the filter that a shared subscription is about (MQTT 5.0 section 4.8.2), which
// only a broker without rules grants; any other as it is.
func shared(filter string) string {
	if group, ok := strings.CutPrefix(filter, "$share/"); ok {
		_, filter, _ = strings.Cut(group, "/")
	}
	return filter
}

// validString reports whether s may be an MQTT string (section 1.5.4).
func validString(s string) bool {
	return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

func isSubscriptionID(s string) bool {
	_, err := fds.ParseSubscriptionID(s)
	return err == nil
}

// shown cuts a string from outside for a log line; slog escapes it.
func shown(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
