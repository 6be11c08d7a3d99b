package fds

// ParseTopic is what Root.Levels takes a topic apart with.
var ParseTopic = parseTopic

// MatchBelow holds a topic against a filter, both below one root.
func MatchBelow(filter, topic string) bool {
	root := NewSubscriptionID().Root()
	return root.Matches(root.String()+filter, root.String()+topic)
}
