package fds

// Dialect holds the names and forms that FDS V2 leaves open, so that a provider
// that chose others needs a setting and no patch. An empty field means the
// default that its comment gives. Where a wrong guess could make a provider
// refuse a request there is no default, and the thing is not sent.
type Dialect struct {
	DeviceID  string // member at the root of a device that holds its ID; default "device_id"
	MessageID string // member at the root of an event message that holds its ID; default "message_id"
	TagID     string // member at the root of a tag that holds its ID; default "tag_id"

	IDsSeparator string // between the IDs in the query parameter ids; default ","
	ListMember   string // member that holds the array in a list answer; default none: the answer is the array
}

// WithDefaults fills the empty fields that have a default.
func (d Dialect) WithDefaults() Dialect {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&d.DeviceID, "device_id")
	fill(&d.MessageID, "message_id")
	fill(&d.TagID, "tag_id")
	fill(&d.IDsSeparator, ",")
	return d
}
