package following

import (
	"fmt"
	"slices"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// selection says which fetched items the topics name.
type selection struct {
	all     bool
	filters []string // below a root of its own
	dialect *fds.Dialect
}

// anyRoot stands for the root of whichever owner: topics are held against filters below it.
var anyRoot = fds.NewSubscriptionID().Root()

func selectionOf(topics []string, dialect *fds.Dialect) *selection {
	s := &selection{all: len(topics) == 0 || slices.Contains(topics, "#"), dialect: dialect}
	for _, below := range topics {
		s.filters = append(s.filters, anyRoot.String()+below)
	}
	return s
}

// fault returns why it cannot be told which items of a collection the topics name.
func (s *selection) fault(kind pull.Kind) error {
	template, setting := s.dialect.EventTopic, "EventTopic"
	if kind == pull.Statuses {
		template, setting = s.dialect.StatusTopic, "StatusTopic"
	}
	if s.all || template != "" {
		return nil
	}
	return fmt.Errorf("fdsclient: %w: Push.Topics names some topics only, and which of the %s they name cannot be told; set Provider.Dialect.%s, or Gaps.Off where nothing is to be fetched", fds.ErrConfig, kind, setting)
}

// names reports whether the topics name an item, and whether that is known.
func (s *selection) names(kind pull.Kind, item fds.Item) (named, known bool) {
	if s.all {
		return true, true
	}
	of := s.dialect.TopicOfEvent
	if kind == pull.Statuses {
		of = s.dialect.TopicOfStatus
	}
	below, ok := of(item)
	if !ok {
		return false, false
	}
	topic := anyRoot.String() + below
	return slices.ContainsFunc(s.filters, func(filter string) bool { return anyRoot.Matches(filter, topic) }), true
}
