package brokerconfig

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestAnACLThatCouldNotBeReadAgainIsRefusedBeforeAnythingIsIssued(t *testing.T) {
	w := &writer{at: time.Now(), record: newRecord()}
	w.record.Providers["soap-inc"] = &provider{Connections: mostConnections}
	for n := range mostOwners {
		w.record.Clients[fmt.Sprintf("1a6f0c1e-5b9d-4c53-8b0e-%012x", n)] = &client{}
	}
	if err := w.note(t.Context()); !errors.Is(err, fds.ErrConfig) {
		t.Errorf("%v", err)
	}
}
