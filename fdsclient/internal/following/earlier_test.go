package following

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
)

// What was handed over is known by digests, which are of no use to a version that
// makes others.
func TestWhatAnEarlierVersionPolledIsNotHandedOverAgain(t *testing.T) {
	const id, name = "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01", "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01-644d89f1ac9a1487.json"
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "earlier", "polled", name))
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		folder, err := statestore.OpenFolder(path)
		if err != nil {
			t.Fatal(err)
		}
		owner, err := fds.ParseSubscriptionID(id)
		if err != nil {
			t.Fatal(err)
		}
		all := polled(t, func(cfg *config) { cfg.Store = folder })
		api, h := &polledAPI{from: true}, new(had)
		api.statuses = []string{`{"device_id":"a","on":true}`, `{"device_id":"b","on":false}`}
		began := time.Now() // the bubble's, at which the earlier version began too
		api.event("one", began)
		api.event("two", began.Add(5*time.Minute))
		api.event("three", began.Add(5*time.Minute))
		api.events = append(api.events, `{"generic":{"date_time":"2000-01-01T00:05:30Z"}}`)
		time.Sleep(10 * time.Minute)
		f := poller(t, all, owner, api, h.handle)
		time.Sleep(5 * time.Minute)
		expect(t, h)
		api.event("four", time.Now())
		api.change(func() { api.statuses[0] = `{"device_id":"a","on":false}` })
		time.Sleep(5 * time.Minute)
		f.Stop()
		expect(t, h, "four", `{"device_id":"a","on":false}`)
	})
}
