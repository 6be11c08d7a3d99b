package grants

import "time"

// Phase is whether the token of a grant can be had, as far as this process knows.
type Phase uint8

// The phases of a grant. The table at state says what moves one to another.
const (
	Unread  Phase = iota // nobody has asked for its token yet
	Fresh                // a renewal or a sign-in brought a token
	Failing              // the last renewal failed in a way that may pass
	Lapsed               // the user must sign in again
	Gone                 // signed out, or taken away
)

// State is the part of a grant's state that its owners see.
type State struct {
	Phase Phase
	Err   error     // why it is Failing, Lapsed (then it matches fds.ErrSignInRequired) or Gone
	Since time.Time // while Failing: when the first renewal in a row failed
}

// state is all that this process knows of a grant. One value follows another as a whole,
// by the moves below and by nothing else.
//
//	phase    Token returns                        moves on by
//	Unread   what a renewal brings                renewed, failed, refused, ended, signedIn
//	Fresh    the token at once while it is        the same
//	         usable, else what a renewal brings
//	Failing  the token of before while it is      the same: renewed is Fresh again, failed
//	         usable, else why it fails until      stays Failing since the first failure
//	         next, then what a renewal brings
//	Lapsed   why, until next (seconds), then      the same, but that failed stays Lapsed: a
//	         what a renewal brings: it looks in   server that cannot be asked takes nothing
//	         the store for a sign-in, and asks    back
//	         the server from relook (a day) on
//	Gone     why                                  signedIn, where one has the same key
//
//	move     to       by
//	renewed  Fresh    a renewal: the stored token will do, or the server issued one
//	failed   Failing  a renewal: the server or the store is out of reach, or has refused once
//	refused  Lapsed   a renewal: the server has refused twice, or the record is of no use
//	ended    Gone     a renewal that finds no record; the last owner's sign-out
//	signedIn Fresh    a sign-in
//
// In all phases but Gone one renewal may be under way (flight), which whoever needs one
// joins. A sign-in or sign-out meanwhile overtakes it: then it lands without a move, and
// those who wait for it get what is known since. In all phases but Gone there may be tokens
// that the store did not take (unsaved), which the next renewal saves before all else.
type state struct {
	State
	credential *credential // while Fresh, and while Failing if it was
	next       time.Time   // while Failing or Lapsed: no renewal begins earlier
	relook     time.Time   // while Lapsed: when the server is asked again
	flight     *flight     // nil: none is under way
	unsaved    *pending    // nil: the store has all
}

func (s state) renewed(c *credential) state {
	return state{State: State{Phase: Fresh}, credential: c, unsaved: s.unsaved}
}

func (s state) failed(why error, now, next time.Time) state {
	s.next = next
	switch s.Phase {
	case Lapsed:
	case Failing:
		s.Err = why
	default:
		s.State = State{Phase: Failing, Err: why, Since: now}
	}
	return s
}

func (s state) refused(why error, next, relook time.Time) state {
	return state{State: State{Phase: Lapsed, Err: why}, next: next, relook: relook, unsaved: s.unsaved}
}

func (s state) ended(why error) state {
	return state{State: State{Phase: Gone, Err: why}, flight: s.flight}
}

func (s state) signedIn(c *credential) state {
	return state{State: State{Phase: Fresh}, credential: c, flight: s.flight}
}

// mayRenew returns why no renewal may begin now.
func (s *state) mayRenew(now time.Time) error {
	if s.Phase == Gone || s.Err != nil && now.Before(s.next) {
		return s.Err
	}
	return nil
}

// due is when the scheduler renews the grant, or looks at it again; false: never.
func (s *state) due() (at time.Time, ever bool) {
	switch s.Phase {
	case Fresh:
		return s.credential.due, true
	case Failing:
		return s.next, true
	case Lapsed:
		if s.relook.Before(s.next) {
			return s.next, true
		}
		return s.relook, true
	}
	return time.Time{}, false
}
