package following

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
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
		pass(10 * time.Minute)
		f := poller(t, all, owner, api, h.handle)
		pass(5 * time.Minute)
		expect(t, h)
		api.event("four", time.Now())
		api.change(func() { api.statuses[0] = `{"device_id":"a","on":false}` })
		pass(5 * time.Minute)
		f.Stop()
		expect(t, h, "four", `{"device_id":"a","on":false}`)
	})
}

func TestAStateFolderOfAnEarlierVersionOpens(t *testing.T) {
	path := t.TempDir()
	if err := os.CopyFS(path, os.DirFS(filepath.Join("..", "..", "testdata", "earlier", "state"))); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(path, func(name string, _ os.DirEntry, err error) error { return errors.Join(err, os.Chmod(name, 0o700)) }); err != nil {
		t.Fatal(err)
	}
	folder, err := statestore.OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	all := pushing(t, func(c *config) { c.Store = folder }).Followers
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, c := range []struct {
		id, issuer string
		want       record
	}{
		{"1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01", "https://auth.example.com", record{
			Filters:  []string{"fds/v2/1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01/#", "fds/v2/1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01/devices/+/status"},
			Position: at("2026-11-28T10:15:30.123456789Z"),
			Ahead:    -1500 * time.Millisecond,
			Gap:      &Gap{From: at("2026-11-28T10:15:29Z"), To: at("2026-11-28T10:20:00.5Z"), Since: at("2026-11-28T11:20:01+01:00"), Reason: `connection lost: "EOF" <&>`},
		}},
		{"1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01", "https://other.example.com/ü", record{Filters: []string{"fds/v2/1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01/events"}}},
		{"2b7f1d2f-6cae-4d64-9c1f-3a0e2d8b4f02", "https://auth.example.com", record{Polled: &polledRecord{
			Events:   listRecord{From: at("2026-11-28T10:15:30Z"), Seen: []byte{0, 1, 2, 3, 4, 5, 6, 7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff}, Part: true},
			Statuses: listRecord{From: at("2026-11-28T10:15:31.25Z"), Seen: []byte("12345678"), Handed: []byte("abcdefgh12345678")},
		}}},
		{"3c8a2e3a-7dbf-4e75-8d2a-4b1f3e9c5a03", "https://auth.example.com", record{}},
		{"4d9b3f4b-8ec0-4f86-9e3b-5c2a4fad6b04", "https://auth.example.com", record{Gap: &Gap{Since: at("2026-11-28T10:20:01Z"), Reason: "unknown"}}},
	} {
		id, err := fds.ParseSubscriptionID(c.id)
		if err != nil {
			t.Fatal(err)
		}
		owner := fds.OwnerKey{Issuer: c.issuer, SubscriptionID: id}
		for range 2 { // as it was, and saved anew
			got, revision, err := all.read(t.Context(), owner)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("the state of %v is %+v, want %+v", owner, got, c.want)
			}
			if _, err := all.write(t.Context(), owner, &got, got.Polled, revision); err != nil {
				t.Fatal(err)
			}
		}
	}
}
