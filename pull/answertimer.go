package pull

import (
	"context"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// answerTimer is the time-out of one answer and its place in the limit. Both are given
// back while the provider is not what is waited for. It begins paused.
type answerTimer struct {
	limit *fds.Limit
	left  time.Duration
	over  func() // called when none is left
	timer *time.Timer
	since time.Time
	runs  bool
}

// allowance is what is left for a list, over all its requests.
type allowance struct{ left time.Duration }

// spend takes so much away; a nil allowance has no end.
func (a *allowance) spend(d time.Duration) {
	if a != nil {
		a.left -= d
	}
}

// of bounds a wait by what is left, and reports whether that is less.
func (a *allowance) of(d time.Duration) (time.Duration, bool) {
	if a == nil || a.left > d {
		return d, false
	}
	return max(a.left, 0), true
}

func (p *answerTimer) pause() {
	if !p.runs {
		return
	}
	p.runs = false
	p.timer.Stop()
	p.left -= time.Since(p.since)
	p.limit.Release()
}

func (p *answerTimer) resume(ctx context.Context) error {
	if p.runs {
		return nil
	}
	if err := p.limit.Acquire(ctx); err != nil {
		return err
	}
	p.runs = true
	p.since = time.Now()
	if p.timer == nil {
		p.timer = time.AfterFunc(p.left, p.over)
	} else {
		p.timer.Reset(p.left)
	}
	return nil
}
