package tap

import "testing"

// likeness is a hook of an application that has all that a Tap has.
type likeness struct{ *Tap }

func TestAttackWhatIsLikeATapIsNone(t *testing.T) {
	real := &Tap{Packet: func(Packet) {}}
	for _, hook := range []any{nil, *real, likeness{real}, &likeness{real}, &real, func(Packet) {}, struct{ Packet func(Packet) }{real.Packet}} {
		if Is(hook) || Of([]any{hook}).Packet != nil {
			t.Errorf("%T sees packets", hook)
		}
	}
	if hooks := []any{likeness{real}, real}; !Is(real) || Of(hooks).Packet == nil {
		t.Error("a Tap sees nothing")
	}
}
