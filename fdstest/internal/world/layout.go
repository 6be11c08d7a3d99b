package world

import (
	"fmt"
	"time"
)

// voidSpaceID is the ID of the void, which a site is part of.
const voidSpaceID = "00000000-0000-0000-0000-000000000000"

type space struct {
	SpaceID  string       `json:"space_id"`
	Generic  spaceGeneric `json:"generic"`
	Specific any          `json:"space_type_specific,omitempty"`
}

type spaceGeneric struct {
	SpaceType  string      `json:"space_type"`
	Name       string      `json:"name"`
	PartOf     *spaceChain `json:"part_of"`
	ComposedOf []string    `json:"composed_of"`
}

// spaceChain is a space with the spaces around it, out to the void.
type spaceChain struct {
	SpaceID string            `json:"space_id"`
	Generic spaceChainGeneric `json:"generic"`
}

type spaceChainGeneric struct {
	SpaceType string      `json:"space_type"`
	Name      string      `json:"name"`
	PartOf    *spaceChain `json:"part_of"`
}

var void = &spaceChain{SpaceID: voidSpaceID, Generic: spaceChainGeneric{SpaceType: "nothing"}}

type placeSpecific struct {
	Address     address     `json:"address"`
	Geolocation geolocation `json:"geolocation"`
}

// address has the properties of an IMDF address.
type address struct {
	Address    string  `json:"address"`
	Unit       *string `json:"unit"`
	Locality   string  `json:"locality"`
	Province   string  `json:"province"`
	Country    string  `json:"country"`
	PostalCode string  `json:"postal_code"`
}

type geolocation struct {
	Longitude float64 `json:"longitude"`
	Latitude  float64 `json:"latitude"`
}

type floorSpecific struct {
	Storey int `json:"storey"`
}

type town struct {
	name, street, province, country, postalCode string
	longitude, latitude                         float64
}

var towns = []town{
	{"Zürich", "Bahnhofstrasse", "CH-ZH", "CH", "8001", 8.5391, 47.3686},
	{"Genève", "Rue du Rhône", "CH-GE", "CH", "1204", 6.1466, 46.2022},
	{"Lyon", "Rue de la République", "FR-ARA", "FR", "69002", 4.8357, 45.7640},
	{"Hamburg", "Mönckebergstraße", "DE-HH", "DE", "20095", 9.9990, 53.5503},
	{"Göteborg", "Kungsgatan", "SE-O", "SE", "411 19", 11.9668, 57.7048},
	{"Portland", "Congress Street", "US-ME", "US", "04101", -70.2568, 43.6591},
}

// places are the spaces of an owner that hold devices.
type places struct {
	restrooms, rooms, hallways []string
}

// build makes up the owner's sites and puts devices there.
func (o *owner) build() {
	var p places
	first := o.random.IntN(len(towns))
	for n := range 1 + o.random.IntN(2) {
		t := towns[(first+n)%len(towns)]
		site := o.newSpace("site", fmt.Sprintf("%s %s", o.name, t.name), nil)
		where := placeSpecific{
			Address:     address{Locality: t.name, Province: t.province, Country: t.country, PostalCode: t.postalCode},
			Geolocation: geolocation{t.longitude, t.latitude},
		}
		number := 1 + o.random.IntN(90)
		where.Address.Address = fmt.Sprintf("%s %d", t.street, number)
		var buildings []string
		at := len(o.spaces)
		o.spaces = append(o.spaces, entry{})
		for b := range 1 + o.random.IntN(2) {
			inBuilding := where
			inBuilding.Address.Address = fmt.Sprintf("%s %d", t.street, number+2*b)
			buildings = append(buildings, o.addBuilding(site, fmt.Sprintf("Building %c", 'A'+b), inBuilding, &p))
		}
		site.close(&o.spaces[at], buildings, where)
	}
	o.addDevices(p)
}

// newSpace begins a space; close adds its contents and writes it.
func (o *owner) newSpace(kind, name string, in *spaceChain) *spaceChain {
	if in == nil {
		in = void
	}
	return &spaceChain{SpaceID: newUUID(o.random), Generic: spaceChainGeneric{SpaceType: kind, Name: name, PartOf: in}}
}

func (c *spaceChain) close(to *entry, composedOf []string, specific any) {
	if composedOf == nil {
		composedOf = []string{}
	}
	*to = entry{id: c.SpaceID, raw: mustJSON(space{
		SpaceID:  c.SpaceID,
		Generic:  spaceGeneric{SpaceType: c.Generic.SpaceType, Name: c.Generic.Name, PartOf: c.Generic.PartOf, ComposedOf: composedOf},
		Specific: specific,
	})}
}

func (o *owner) addBuilding(site *spaceChain, name string, where placeSpecific, p *places) string {
	building := o.newSpace("building", name, site)
	at := len(o.spaces)
	o.spaces = append(o.spaces, entry{})
	var floors []string
	for storey := range 2 + o.random.IntN(2) {
		floors = append(floors, o.addFloor(building, storey, p))
	}
	building.close(&o.spaces[at], floors, where)
	return building.SpaceID
}

func (o *owner) addFloor(building *spaceChain, storey int, p *places) string {
	floor := o.newSpace("floor", fmt.Sprintf("Floor %d", storey), building)
	at := len(o.spaces)
	o.spaces = append(o.spaces, entry{})
	var inside []string
	add := func(kind, name string, contents ...string) string {
		room := o.newSpace(kind, name, floor)
		at := len(o.spaces)
		o.spaces = append(o.spaces, entry{})
		var parts []string
		for i, c := range contents {
			part := o.newSpace(c, fmt.Sprintf("%s, %s %d", name, c, i+1), room)
			parts = append(parts, part.SpaceID)
			o.spaces = append(o.spaces, entry{})
			part.close(&o.spaces[len(o.spaces)-1], nil, nil)
		}
		room.close(&o.spaces[at], parts, nil)
		inside = append(inside, room.SpaceID)
		return room.SpaceID
	}
	p.hallways = append(p.hallways, add("hallway", fmt.Sprintf("Hallway %d", storey)))
	for i := range 2 {
		p.rooms = append(p.rooms, add("room", fmt.Sprintf("Room %d%02d", storey, i+1)))
	}
	for i := range 2 {
		name := fmt.Sprintf("Restroom %d%02d", storey, 51+i)
		p.restrooms = append(p.restrooms, add("restroom", name, "cubicle", "cubicle"))
	}
	floor.close(&o.spaces[at], inside, floorSpecific{storey})
	return floor.SpaceID
}

type deviceItem struct {
	DeviceID any `json:"device_id"`
	Generic  any `json:"generic"`
	Specific any `json:"device_type_specific,omitempty"`
}

type specGeneric struct {
	DeviceType            string `json:"device_type"`
	Name                  string `json:"name"`
	Manufacturer          string `json:"manufacturer"`
	Model                 string `json:"model"`
	SerialNumber          string `json:"serial_number"`
	ProductionDate        string `json:"production_date"`
	RegistrationDate      string `json:"registration_date"`
	StartConnectivityDate string `json:"start_connectivity_date"`
	SpaceID               string `json:"space_id"`
}

// addDevices spreads devices over the places: of ten, seven are dispensers, one
// of each category.
func (o *owner) addDevices(p places) {
	for n := range o.cfg.Devices {
		switch round, kind := n/10, n%10; {
		case kind < len(categories):
			where := p.restrooms
			if round%4 == 3 {
				where = p.rooms
			}
			o.addDevice(newDispenser(o.random, categories[kind]), n, where[round%len(where)])
		case kind == 7:
			o.addDevice(newMachine(o.random, round), n, p.hallways[round%len(p.hallways)])
		case kind == 8:
			in := p.restrooms[round%len(p.restrooms)]
			o.addDevice(newCounter(o.random, round, in, o.created.Add(-history)), n, in)
		default:
			o.addDevice(newHandle(o.random, p.rooms), n, p.rooms[round%len(p.rooms)])
		}
	}
}

func (o *owner) addDevice(l life, n int, spaceID string) {
	about := l.about()
	fingerprint := uint32(o.fingerprint() ^ o.cfg.Seed)
	id := fmt.Sprintf("%s_%08X_%04d", about.brand, fingerprint, n+1)
	if o.cfg.NumericIDs {
		id = fmt.Sprintf("1%010d%05d", fingerprint, n+1)
	}
	dev := &device{
		id:         id,
		deviceType: about.deviceType,
		life:       l,
		last:       o.created.Add(-history),
	}
	produced := o.created.Add(-time.Duration(100+o.random.IntN(900)) * 24 * time.Hour)
	registered := produced.Add(30 * 24 * time.Hour)
	dev.specification = o.named(mustJSON(deviceItem{o.written(dev.id), specGeneric{
		DeviceType:            about.deviceType,
		Name:                  fmt.Sprintf("%s %d", about.name, n+1),
		Manufacturer:          about.manufacturer,
		Model:                 about.model,
		SerialNumber:          fmt.Sprintf("%010d", o.random.IntN(1e10)),
		ProductionDate:        dateTime(produced),
		RegistrationDate:      dateTime(registered),
		StartConnectivityDate: dateTime(registered.Add(2 * time.Hour)),
		SpaceID:               spaceID,
	}, l.specification()}))
	o.devices = append(o.devices, dev)
}
