package fds

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// TopicOfEvent returns the topic below the owner's root on which an event was published,
// as EventTopic has it; false: EventTopic is not set, or the event lacks a member that it
// names. Joined to Root.String it can be held against filters with Root.Matches.
func (d Dialect) TopicOfEvent(event Item) (string, bool) { return topicOf(d.EventTopic, event) }

// TopicOfStatus is TopicOfEvent for a device's status and StatusTopic.
func (d Dialect) TopicOfStatus(status Item) (string, bool) { return topicOf(d.StatusTopic, status) }

// topicOf fills a template from an item. A value that would be another number of levels
// or a wildcard is no part of a topic.
func topicOf(template string, item Item) (string, bool) {
	if template == "" {
		return "", false
	}
	pieces, why := templateOf(template)
	if why != "" {
		return "", false
	}
	var topic strings.Builder
	for _, p := range pieces {
		text := p.text
		if p.member != nil {
			raw, _ := item.Member(p.member...)
			text, _ = scalar(raw)
			if text == "" || strings.ContainsAny(text, "/+#\x00") {
				return "", false
			}
		}
		if topic.Len()+len(text) > MaxTopicBytes {
			return "", false
		}
		topic.WriteString(text)
	}
	return topic.String(), true
}

// piece is a part of a template: text or, when it is not nil, the path of a member.
type piece struct {
	text   string
	member []string
}

// templates are those that were parsed, by their text. Those of a program come from its
// configuration, so they are few; of one that makes ever more the first stay.
var templates struct {
	sync.Map // of parsedTemplate
	count    atomic.Int64
}

const maxTemplates = 256

type parsedTemplate struct {
	pieces []piece
	why    string
}

// templateOf is parseTemplate, for each message.
func templateOf(template string) (pieces []piece, why string) {
	if known, ok := templates.Load(template); ok {
		t := known.(parsedTemplate)
		return t.pieces, t.why
	}
	pieces, why = parseTemplate(template)
	if templates.count.Add(1) <= maxTemplates {
		templates.Store(strings.Clone(template), parsedTemplate{pieces, why})
	}
	return pieces, why
}

// parseTemplate takes the template of a topic apart, or returns why it is none.
func parseTemplate(template string) (pieces []piece, why string) {
	if len(template) > MaxTopicBytes {
		return nil, fmt.Sprintf("it has %d bytes, MQTT allows %d", len(template), MaxTopicBytes)
	}
	if strings.HasPrefix(template, topicPrefix) {
		return nil, "it begins with " + topicPrefix + "; write what follows the subscription ID"
	}
	for i, level := range strings.Split(template, "/") {
		if i > 0 {
			pieces = append(pieces, piece{text: "/"})
		}
		if err := checkLevel(level); err != nil {
			return nil, strings.TrimPrefix(err.Error(), ErrTopic.Error()+": ")
		}
		for level != "" {
			text, rest, opened := strings.Cut(level, "{")
			if strings.ContainsAny(text, "+#") {
				return nil, "it holds a wildcard, which only a filter may"
			}
			if strings.Contains(text, "}") {
				return nil, "a } has no {"
			}
			if text != "" {
				pieces = append(pieces, piece{text: text})
			}
			if !opened {
				break
			}
			name, after, closed := strings.Cut(rest, "}")
			if !closed {
				return nil, "a { has no } in its level"
			}
			path := strings.Split(name, ".")
			for _, step := range path {
				if step == "" || strings.Contains(step, "{") {
					return nil, "between { and } stands the name of a member, below the root with dots"
				}
			}
			pieces = append(pieces, piece{member: path})
			level = after
		}
	}
	return pieces, ""
}
