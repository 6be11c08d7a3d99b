package fds

// Message is an item about an event: the change of state of a device or a space
// at a point in time. It is small; what its code means stands in the event
// specifications. (delivery.Message is the delivery of one.)
type Message struct {
	Item
	id string
}

// ParseMessage takes the JSON of an event message. Errors match ErrItem. A
// message without the ID member that the dialect names is no error: its ID is
// "".
func ParseMessage(data []byte, dialect Dialect) (Message, error) {
	item, err := ParseItem(data)
	if err != nil {
		return Message{}, err
	}
	return Message{Item: item, id: item.id(dialect.WithDefaults().MessageID)}, nil
}

// ID returns the message's own ID, or "" when it has no member of the dialect's
// name.
func (m Message) ID() string { return m.id }

// Tag is an item by which a consumer groups devices and spaces.
type Tag struct {
	Item
	id string
}

// ParseTag takes the JSON of a tag. Errors match ErrItem. A tag without the ID
// member that the dialect names is no error: its ID is "".
func ParseTag(data []byte, dialect Dialect) (Tag, error) {
	item, err := ParseItem(data)
	if err != nil {
		return Tag{}, err
	}
	return Tag{Item: item, id: item.id(dialect.WithDefaults().TagID)}, nil
}

// ID returns the tag's ID, or "" when it has no member of the dialect's name.
func (t Tag) ID() string { return t.id }
