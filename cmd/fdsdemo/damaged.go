package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// damaged are the stored grants of which not even the owner can be read.
type damaged struct {
	mu     sync.Mutex
	errs   []error
	closed bool // they are told; what comes later the log tells
}

// unavailableRecord is that of the log about a grant that cannot be read.
const unavailableRecord = "grant store unavailable"

// isDamaged reports whether an error is about such a grant.
func isDamaged(err error) bool {
	of := new(tokenstore.Error)
	return errors.Is(err, fds.ErrCorrupt) && errors.As(err, &of) && of.Key == (tokenstore.Key{})
}

// OnStoreUnavailable is told of each record that cannot be read.
func (d *damaged) OnStoreUnavailable(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if isDamaged(err) && !d.closed && !d.has(err) {
		d.errs = append(d.errs, err)
	}
}

func (d *damaged) has(err error) bool {
	return slices.ContainsFunc(d.errs, func(known error) bool { return known.Error() == err.Error() })
}

// tells reports whether tellDamaged tells what a record of the log says.
func (d *damaged) tells(message string, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return message == unavailableRecord && isDamaged(err) && (!d.closed || d.has(err))
}

// damagedError stands for owners who are missing because their grants are damaged.
type damagedError struct {
	text string
	err  error
}

func (e *damagedError) Error() string { return e.text }
func (e *damagedError) Unwrap() error { return e.err }

// Is matches fds.ErrNoOwner: they have to sign in again.
func (e *damagedError) Is(target error) bool { return target == fds.ErrNoOwner }

// tellDamaged tells of damaged grants, once, when so many others were found. With none it returns
// the error in whose place nobody is to be called missing; nil: no grant is damaged.
func (p *program) tellDamaged(found int) error {
	d := &p.damaged
	d.mu.Lock()
	errs, told := slices.Clone(d.errs), d.closed
	d.closed = true
	d.mu.Unlock()
	if len(errs) == 0 || told && found > 0 {
		return nil
	}
	why := errs[0]
	if of := new(tokenstore.Error); errors.As(why, &of) && of.Err != nil {
		why = of.Err
	}
	text := fmt.Sprintf("a stored grant is damaged, and whose it was cannot be told: %v", why)
	if more := len(errs) - 1; more > 0 {
		text += fmt.Sprintf(", and %s more", count(more, "other"))
	}
	text += "; who is missing has to sign in again: what is damaged is of no use, remove it from " + p.grants
	if found > 0 {
		p.tell("fdsdemo: warning: %s", inFile(text))
		return nil
	}
	return &damagedError{text, errs[0]}
}

// tellsItself returns what the log need not tell since the command does; nil: nothing.
func (p *program) tellsItself() func(message string, err error) bool {
	tells := p.tells
	if p.verbose {
		return tells
	}
	return func(message string, err error) bool {
		return p.damaged.tells(message, err) || tells != nil && tells(message, err)
	}
}
