package pull_test

import (
	"errors"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

func TestAnUnchangedListCostsAnAnswerWithoutContentForEachPage(t *testing.T) {
	p, config, owner := provider(t, fdstest.Options{Devices: 25, WebAPI: fdstest.WebAPI{Paging: fdstest.Paging{PageParameter: "page", Size: 10}}})
	config.Dialect = fds.Dialect{Paging: fds.Paging{PageParameter: "page"}}
	client := newClient(t, config)
	var known pull.Version
	read := func() (int, error) {
		owner.mu.Lock()
		owner.authorized = 0
		owner.mu.Unlock()
		items, err := raws(client.Items(t.Context(), pull.Specifications, pull.Query{Version: &known}))
		return len(items), err
	}
	early := config
	early.Authorizer = &bearer{token: owner.token} // its reader ends after the loop
	for range newClient(t, early).Items(t.Context(), pull.Specifications, pull.Query{Version: &known}) {
		break // which leaves nothing known
	}
	if n, err := read(); n != 25 || err != nil {
		t.Fatalf("%d items, %v", n, err)
	}
	if n, err := read(); n != 0 || !errors.Is(err, fds.ErrUnchanged) || owner.authorized != 4 {
		t.Errorf("%d items, %v, %d requests", n, err, owner.authorized)
	}
	if err := p.AddDevice(p.Owners()[0], []byte(`{"device_id":"new","generic":{"device_type":"dispenser"}}`)); err != nil {
		t.Fatal(err)
	}
	if n, err := read(); n != 26 || err != nil {
		t.Errorf("after a change: %d items, %v", n, err)
	}
	if n, err := read(); n != 0 || !errors.Is(err, fds.ErrUnchanged) {
		t.Errorf("unchanged again: %d items, %v", n, err)
	}
	if items, err := raws(client.Items(t.Context(), pull.Specifications, pull.Query{Version: &known, IDs: []string{"new"}})); len(items) != 1 || err != nil {
		t.Errorf("another query: %d items, %v", len(items), err)
	}
}
