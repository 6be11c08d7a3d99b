package fdsclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

// OwnerState is what a run must remember of one owner besides the grant. It holds
// no secret.
type OwnerState struct {
	// Filters are the topic filters that the broker's session may hold.
	Filters []string `json:"filters,omitempty"`
	// Position: all that was published before was handled. It is in the provider's
	// time as far as that is known, and a lower bound: at most a second is
	// missing, what was not acknowledged, and what has no date that the Dialect names
	// and came within 2 s of the message before.
	Position time.Time `json:"position,omitzero"`
	// Ahead is what the provider's clock was ahead of this machine's when Position
	// was set, negative when it was behind; 0 where its time is not known.
	Ahead time.Duration `json:"ahead,omitempty"`
	// Gap is what may have been lost and was not fetched yet; nil: nothing. What it
	// points to is not changed.
	Gap *Gap `json:"gap,omitempty"`
	// Polled is what poll mode has handed over; nil: nothing yet. What it points to is
	// not changed.
	Polled *Polled `json:"polled,omitempty"`
}

// StateStore keeps OwnerStates. Its methods are called from several goroutines
// at once, for one owner from one at a time.
type StateStore interface {
	// Load gives the zero OwnerState for an owner that was never saved. While it fails
	// an owner is not polled; one that the broker pushes to has everything fetched
	// anew.
	Load(ctx context.Context, owner fds.OwnerKey) (OwnerState, error)
	// Save is durable when it returns nil.
	Save(ctx context.Context, owner fds.OwnerKey, state OwnerState) error
	Delete(ctx context.Context, owner fds.OwnerKey) error
}

// maxStateBytes bounds the state file of one owner. It has room for what Polled may
// hold.
const maxStateBytes = 4 << 20

// StateFolder keeps the state of each owner in a file of its own. Several
// processes may share one as long as they do not connect the same owner, which
// the broker forbids anyway, or poll the same owner, which nobody forbids.
type StateFolder struct{ path string }

// OpenStateFolder uses the folder at path, which is made when it is first needed.
func OpenStateFolder(path string) (*StateFolder, error) {
	if path == "" {
		return nil, fmt.Errorf("fdsclient: state folder: %w: no path, and this user has no home folder; set Config.State", ErrConfig)
	}
	return &StateFolder{path: path}, nil
}

// defaultStateFolder is the place for state that outlives a program, or "".
func defaultStateFolder(application string) string {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		base = filepath.Join(home, ".local", "state")
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		var err error
		if base, err = os.UserConfigDir(); err != nil {
			return ""
		}
	}
	name := url.PathEscape(application)
	if strings.Trim(name, ".") == "" { // a step in a path
		name = strings.ReplaceAll(name, ".", "%2E")
	}
	return filepath.Join(base, name, "state")
}

// stateFile is the form of a file: the key is inside, because its name is only a
// digest of it.
type stateFile struct {
	Version int          `json:"version"`
	Owner   fds.OwnerKey `json:"owner"`
	State   OwnerState   `json:"state"`
}

func (s *StateFolder) file(owner fds.OwnerKey) string {
	return filepath.Join(s.path, owner.SubscriptionID.String()+"-"+digest(owner.Issuer)+".json")
}

// errDamaged: no later attempt fares better.
var errDamaged = errors.New("damaged or of a newer version")

// Load implements StateStore. A damaged file gives an error that names it.
func (s *StateFolder) Load(_ context.Context, owner fds.OwnerKey) (OwnerState, error) {
	name := s.file(owner)
	data, err := atomicfile.Read(name, maxStateBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return OwnerState{}, nil
	}
	if err != nil {
		return OwnerState{}, fmt.Errorf("fdsclient: load state: %w", err)
	}
	var stored stateFile
	if json.Unmarshal(data, &stored) != nil || stored.Version != 1 || stored.Owner != owner {
		return OwnerState{}, fmt.Errorf("fdsclient: load state: %s is %w; delete it, and expect messages twice", name, errDamaged)
	}
	return stored.State, nil
}

// Save implements StateStore.
func (s *StateFolder) Save(_ context.Context, owner fds.OwnerKey, state OwnerState) error {
	data, err := json.Marshal(stateFile{1, owner, state})
	if err != nil {
		return fmt.Errorf("fdsclient: save state: %w", err)
	}
	if err := atomicfile.Folder(s.path, "*-*-*-*-*.json"); err != nil {
		return fmt.Errorf("fdsclient: save state: %w", err)
	}
	if err := atomicfile.Write(s.file(owner), data); err != nil {
		return fmt.Errorf("fdsclient: save state: %w", err)
	}
	return nil
}

// Delete implements StateStore.
func (s *StateFolder) Delete(_ context.Context, owner fds.OwnerKey) error {
	if err := atomicfile.Remove(s.file(owner)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("fdsclient: delete state: %w", err)
	}
	return nil
}

// MemoryState keeps state as long as the process lives: for tests and tours. The
// zero value is ready.
type MemoryState struct{ states sync.Map }

// Load implements StateStore.
func (s *MemoryState) Load(_ context.Context, owner fds.OwnerKey) (OwnerState, error) {
	v, _ := s.states.Load(owner)
	state, _ := v.(OwnerState)
	return state, nil
}

// Save implements StateStore.
func (s *MemoryState) Save(_ context.Context, owner fds.OwnerKey, state OwnerState) error {
	s.states.Store(owner, state)
	return nil
}

// Delete implements StateStore.
func (s *MemoryState) Delete(_ context.Context, owner fds.OwnerKey) error {
	s.states.Delete(owner)
	return nil
}
