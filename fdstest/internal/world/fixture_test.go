package world_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.IsZero() {
		c.now = start
	}
	return c.now
}

func (c *clock) add(d time.Duration) {
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now.Add(d)
}

func subscription(t *testing.T, n int) fds.SubscriptionID {
	t.Helper()
	id, err := fds.ParseSubscriptionID(fmt.Sprintf("9f1c0000-0000-4000-8000-%012d", n))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newWorld makes a world with n owners.
func newWorld(t *testing.T, n int, cfg world.Config) (*world.World, []fds.SubscriptionID) {
	t.Helper()
	w := world.New(cfg)
	for i := range n {
		if err := w.AddOwner(subscription(t, i), fmt.Sprintf("Owner %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	return w, w.Owners()
}

func read(t *testing.T, w *world.World, kind world.Kind, q world.Query, owners ...fds.SubscriptionID) []json.RawMessage {
	t.Helper()
	items, err := w.Read(owners, kind, q)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

type item struct {
	DeviceID  string `json:"device_id"`
	SpaceID   string `json:"space_id"`
	MessageID string `json:"message_id"`
	Code      string `json:"code"`
	Generic   struct {
		DeviceType string          `json:"device_type"`
		SpaceType  string          `json:"space_type"`
		Name       string          `json:"name"`
		SpaceID    string          `json:"space_id"`
		DeviceID   string          `json:"device_id"`
		DateTime   time.Time       `json:"date_time"`
		Code       string          `json:"code"`
		Severity   string          `json:"severity"`
		Message    string          `json:"message"`
		PartOf     json.RawMessage `json:"part_of"`
		ComposedOf []string        `json:"composed_of"`
	} `json:"generic"`
	Device struct {
		Category         string  `json:"category"`
		OperatingMode    string  `json:"operating_mode"`
		SensorTechnology string  `json:"sensor_technology"`
		FillLevel        float64 `json:"fill_level"`
		Count            int     `json:"count"`
		Cycles           []struct {
			Start    time.Time `json:"start"`
			End      time.Time `json:"end"`
			Sequence int       `json:"sequence"`
			Count    int       `json:"count"`
		} `json:"cycles"`
	} `json:"device_type_specific"`
}

func parse(t *testing.T, raw []byte) item {
	t.Helper()
	var it item
	if err := json.Unmarshal(raw, &it); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return it
}

var everything = []world.Kind{world.Specifications, world.Statuses, world.Statistics, world.Diagnostics, world.Spaces, world.Events, world.EventSpecifications}

func snapshot(t *testing.T, w *world.World, owners ...fds.SubscriptionID) string {
	t.Helper()
	var b strings.Builder
	for _, kind := range everything {
		for _, raw := range read(t, w, kind, world.Query{}, owners...) {
			b.Write(raw)
			b.WriteByte('\n')
		}
	}
	return b.String()
}
