package live

import (
	"fmt"
	"testing"

	tea "charm.land/bubbletea/v2"
)

func BenchmarkAFrameOfManyDevices(b *testing.B) {
	p := newPerson(b, 120, 40, true)
	p.furnish()
	var list []Device
	for i := range MaxDevices {
		list = append(list, Device{ID: fmt.Sprintf("DEVICE_%05d", i*7919%MaxDevices), Place: []string{"Site", "Building", fmt.Sprintf("Floor %d", i%40)}, Readings: []Reading{{Name: "fill_level", Text: "50", Number: true, Level: true, Value: 50}}, Time: noon})
	}
	p.tell(read{owner: p.north, devices: list})
	for i := range maxMessages {
		p.status(p.north, fmt.Sprintf("DEVICE_%05d", i), 30, 0)
	}
	b.ResetTimer()
	for b.Loop() {
		p.tell(tea.KeyPressMsg{Code: tea.KeyDown})
		p.model.View()
	}
}
