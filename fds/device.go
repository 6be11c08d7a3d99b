package fds

import "encoding/json"

// DeviceType is the kind of a device. FDS V2 also knows cleaning machines,
// people counters and smart handles; only the dispenser's string is published.
type DeviceType string

// DeviceDispenser is the type of soap, towel, paper and fragrance dispensers.
const DeviceDispenser DeviceType = "dispenser"

// Device is an item about a device: its specification, status, statistic or
// diagnostic.
type Device struct {
	Item
	id string
}

// ParseDevice takes the JSON of a device item. Errors match ErrItem. A device
// without the ID member that the dialect names is no error: its ID is "".
func ParseDevice(data []byte, dialect Dialect) (Device, error) {
	item, err := ParseItem(data)
	if err != nil {
		return Device{}, err
	}
	return Device{Item: item, id: item.id(dialect.WithDefaults().DeviceID)}, nil
}

// ID returns the device's ID, unique across the digital world; it need not be a
// UUID. It is "" when the item has no member of the dialect's name.
func (d Device) ID() string { return d.id }

// Type returns device_type, from the generic object or else from the root, or "".
func (d Device) Type() DeviceType {
	return DeviceType(d.text([]string{"generic", "device_type"}, []string{"device_type"}))
}

// Specific returns device_type_specific as raw JSON; a device need not have it.
func (d Device) Specific() (json.RawMessage, bool) { return d.Member("device_type_specific") }
