package pull

import (
	"time"
)

// Progress is how far a list is.
type Progress struct {
	Answers int   // pages and parts that the loop has begun
	Items   int   // that the loop was given
	Others  int   // items that were left out, being other owners'
	Bytes   int64 // of their JSON
	Done    bool  // nothing more comes: all was read, or an error ended it
}

const progressInterval = 100 * time.Millisecond

// reporter tells Query.Progress not too often.
type reporter struct {
	tell func(Progress)
	now  Progress
	last time.Time
}

func (r *reporter) item(bytes int) {
	r.now.Items++
	r.now.Bytes += int64(bytes)
	r.soon()
}

// other notes an item of another owner.
func (r *reporter) other() {
	r.now.Others++
	r.soon()
}

func (r *reporter) soon() {
	if r.tell != nil && time.Since(r.last) >= progressInterval {
		r.last = time.Now()
		r.tell(r.now)
	}
}

func (r *reporter) done() {
	r.now.Done = true
	if r.tell != nil {
		r.tell(r.now)
	}
}
