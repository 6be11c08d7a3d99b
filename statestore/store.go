package statestore

import (
	"context"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/keylock"
)

// MaxBytes bounds the data of a record.
const MaxBytes = 512 << 10

// maxText bounds an issuer and a client ID, in bytes.
const maxText = 8 << 10

// Key names a record. Issuer and client ID are UTF-8 of at most 8 KiB; the client ID may be
// empty, the owner may not. What breaks these rules each method of a [Store] refuses with an
// error that matches [fds.ErrMalformed].
type Key struct {
	ClientID string // of the application at the owner's provider
	Owner    fds.OwnerKey
	Name     string // 1 to 64 of a-z, 0-9, dot and hyphen
}

// Record is what is stored under a key.
type Record struct {
	Data     []byte // the caller's own
	Revision string // of this content; "": there is no record
}

// Store keeps records. All methods may be called from several goroutines at once, and
// several processes may use one store.
//
// Errors match a class of package fds, or ctx.Err when ctx ended, or tell what is wrong
// with the place, which may pass. After such an error of Save or Delete the record is the old
// one or the new one, whole; Load tells.
type Store interface {
	// Load returns the record, the zero Record where there is none. With an error that
	// matches fds.ErrCorrupt the record has no Data, but may have a Revision, with which it can
	// be replaced or deleted. Data may be larger than MaxBytes where an earlier version has
	// written it.
	Load(ctx context.Context, key Key) (Record, error)

	// Save stores data in place of the record that has that revision, "" for none, and
	// returns the new one, which no record under this key has had before. Where another is
	// stored, or none, nothing is changed and the error matches fds.ErrConflict: of several
	// Saves at once with one revision one succeeds. The record is durable when the error is
	// nil.
	Save(ctx context.Context, key Key, data []byte, revision string) (newRevision string, err error)

	// Delete removes the record that has that revision, as Save replaces it. That there is
	// none is no error with revision "".
	Delete(ctx context.Context, key Key, revision string) error
}

// Claimer is what a [Store] may implement too: it lets one consumer at a time have an owner,
// among all processes that use the store.
type Claimer interface {
	// Claim takes the owner until release is called or this process ends. When someone has
	// it, in this process or another, the error is a *[ClaimedError]. With an error that
	// matches fds.ErrNoClaims the owner is taken as far as this process sees, and release is
	// to be called; after any other error release is nil.
	Claim(ctx context.Context, owner fds.OwnerKey) (release func(), err error)
}

// ClaimedError says that someone has claimed an owner. It matches [fds.ErrRunning].
type ClaimedError struct {
	Owner fds.OwnerKey
	PID   int    // of the process that has it, which may be this one; 0: not known, such as that of another container
	Place string // where it is noted: a folder; may be empty
}

// Error says who has the owner and what to do.
func (e *ClaimedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = "process " + strconv.Itoa(e.PID)
	}
	where := ""
	if e.Place != "" {
		where = " from " + e.Place
	}
	return fmt.Sprintf("statestore: claim %s: %s consumes this owner already%s; end that one first", shownOwner(e.Owner), who, where)
}

// Unwrap returns [fds.ErrRunning].
func (e *ClaimedError) Unwrap() error { return fds.ErrRunning }

// check returns an error that matches fds.ErrMalformed or, when ctx has ended, its error.
func (k Key) check(ctx context.Context) error {
	if err := checkOwner(ctx, k.Owner); err != nil {
		return err
	}
	if len(k.ClientID) > maxText || !utf8.ValidString(k.ClientID) {
		return fmt.Errorf("%w: the client ID is not UTF-8 of at most %d bytes", fds.ErrMalformed, maxText)
	}
	valid := len(k.Name) >= 1 && len(k.Name) <= 64
	for _, c := range []byte(k.Name) {
		valid = valid && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-')
	}
	if !valid {
		return fmt.Errorf("%w: the name must have 1 to 64 of a-z, 0-9, dot and hyphen", fds.ErrMalformed)
	}
	return nil
}

func checkOwner(ctx context.Context, owner fds.OwnerKey) error {
	switch {
	case ctx.Err() != nil:
		return keylock.Ended(ctx)
	case owner.Issuer == "" || len(owner.Issuer) > maxText || !utf8.ValidString(owner.Issuer):
		return fmt.Errorf("%w: the issuer is not UTF-8 of 1 to %d bytes", fds.ErrMalformed, maxText)
	case owner.SubscriptionID == fds.SubscriptionID{}:
		return fmt.Errorf("%w: it has no subscription ID", fds.ErrMalformed)
	}
	return nil
}

// wrap adds to an error what was tried.
func (k Key) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("statestore: %s %s of %s: %w", op, shown(k.Name), shownOwner(k.Owner), err)
}

func shownOwner(owner fds.OwnerKey) string {
	return owner.SubscriptionID.String() + " at " + shown(owner.Issuer)
}

// shown makes text from outside safe to show: escaped and at most 80 bytes.
func shown(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

func checkSize(data []byte) error {
	if len(data) > MaxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d can be stored", fds.ErrTooLarge, len(data), MaxBytes)
	}
	return nil
}

// conflict is the error about a stored record, "" for none, that is not the wanted one.
func conflict(stored, wanted string) error {
	switch {
	case wanted == "":
		return fmt.Errorf("%w: there is one already; load it", fds.ErrConflict)
	case stored == "":
		return fmt.Errorf("%w: it was deleted, or another client's name is on it now; load it again", fds.ErrConflict)
	}
	return fmt.Errorf("%w: it was changed since it was loaded; load it again", fds.ErrConflict)
}
