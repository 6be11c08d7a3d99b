package fds

import "encoding/json"

// DeviceType is the kind of a device. FDS V2 also knows cleaning machines,
// people counters and smart handles; only the dispenser's string is published.
type DeviceType string

// DeviceDispenser is the type of soap, towel, paper and fragrance dispensers.
const DeviceDispenser DeviceType = "dispenser"

// DispenserCategory is what a dispenser dispenses.
type DispenserCategory string

// The categories of FDS V2.
const (
	ToiletPaper   DispenserCategory = "toilet_paper"
	PaperTowel    DispenserCategory = "paper_towel"
	CottonTowel   DispenserCategory = "cotton_towel"
	Soap          DispenserCategory = "soap"
	Lotion        DispenserCategory = "lotion"
	Disinfectant  DispenserCategory = "disinfectant"
	RoomFragrance DispenserCategory = "room_fragrance"
)

// SensorTechnology is how a people counter senses.
type SensorTechnology string

// The technologies of FDS V2.
const (
	Radar        SensorTechnology = "radar"
	TimeOfFlight SensorTechnology = "time_of_flight"
	Image        SensorTechnology = "image"
	Sonar        SensorTechnology = "sonar"
)

// FrameSide is the side of a smart handle's mop frame.
type FrameSide int

// The sides of FDS V2.
const (
	FrameSide0 FrameSide = 0
	FrameSide1 FrameSide = 1
)

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
