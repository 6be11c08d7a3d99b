package main

import (
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/live"
	"github.com/fds-sdk/fds-go/fds"
)

func TestAttackLongItemsOfThousandsOfDevicesAreNotHeld(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		held bool
	}{
		"short": {`{"device_id":"d1","generic":{}}`, true},
		"long":  {`{"device_id":"d1","generic":{"name":"` + strings.Repeat("x", live.MaxItem) + `"}}`, false},
	} {
		d, err := fds.ParseDevice([]byte(c.text), fds.Dialect{})
		if err != nil {
			t.Fatal(err)
		}
		if shown := specified(d, fds.NewSpaceTree(nil)); (shown.Raw != nil) != c.held || shown.ID != "d1" || len(shown.Name) > 200 {
			t.Errorf("%s: %+v", name, shown)
		}
	}
}
