package fdsclient

import (
	"log/slog"
	"sync"
	"time"
)

// tellEvery is how often what happens again and again is logged.
const tellEvery = 10 * time.Second

// occurrences logs what anyone can cause as often as they like: of each kind the
// first at once, then a record a while with their number, and the rest at the end.
type occurrences struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*occurrence
	ended bool
}

// occurrence is one kind.
type occurrence struct {
	told, untold int
	last         error
	timer        *time.Timer // until the next record; nil when one may be written at once
}

// note counts one of a kind, which is the text of its records.
func (o *occurrences) note(kind string, why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	k := o.kinds[kind]
	if k == nil {
		k = new(occurrence)
		if o.kinds == nil {
			o.kinds = make(map[string]*occurrence)
		}
		o.kinds[kind] = k
	}
	k.untold, k.last = k.untold+1, why
	if k.timer == nil {
		o.tell(kind, k)
	}
}

// tell logs what was not told yet.
func (o *occurrences) tell(kind string, k *occurrence) {
	k.timer = nil
	if k.untold == 0 {
		return
	}
	k.told += k.untold
	o.log.Warn(kind, "count", k.untold, "total", k.told, "error", k.last)
	k.untold = 0
	k.timer = time.AfterFunc(tellEvery, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !o.ended {
			o.tell(kind, k)
		}
	})
}

// end logs the rest.
func (o *occurrences) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for kind, k := range o.kinds {
		o.tell(kind, k)
		if k.timer != nil {
			k.timer.Stop()
		}
	}
	o.ended = true
}
