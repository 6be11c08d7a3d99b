package live

// ring holds the last values of many: so many of them, and of so much cost, at most.
type ring[T any] struct {
	list       []T // from the oldest, behind what was taken out
	first      int
	most, room int
	cost       func(T) int // nil: nothing
	costs      int
}

func newRing[T any](most, room int, cost func(T) int) ring[T] {
	return ring[T]{most: most, room: room, cost: cost}
}

func (r *ring[T]) len() int { return len(r.list) - r.first }

// newest returns the i-th value from the end.
func (r *ring[T]) newest(i int) T { return r.list[len(r.list)-1-i] }

// all returns the values, the oldest first, until the next add.
func (r *ring[T]) all() []T { return r.list[r.first:] }

func (r *ring[T]) add(v T) {
	r.list = append(r.list, v)
	if r.cost != nil {
		r.costs += r.cost(v)
	}
	for r.len() > r.most || r.costs > r.room && r.len() > 1 {
		r.drop()
	}
}

// drop takes the oldest value out.
func (r *ring[T]) drop() {
	var none T
	if r.cost != nil {
		r.costs -= r.cost(r.list[r.first])
	}
	r.list[r.first] = none
	r.first++
	if r.first > r.len() { // half of it is empty
		r.list = append(make([]T, 0, r.len()+r.len()/2+1), r.all()...)
		r.first = 0
	}
}

// clone returns a ring of its own with the same values.
func (r *ring[T]) clone() ring[T] {
	c := *r
	c.list, c.first = append([]T(nil), r.all()...), 0
	return c
}
