package tokenstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Classes of errors, for [errors.Is].
var (
	// ErrNotFound: the store has no such grant.
	ErrNotFound = errors.New("no such grant")
	// ErrUnavailable: the store cannot be used now. A locked or missing keyring,
	// no D-Bus, a keyring that does not answer in time, a full disk, a lock that
	// was lost. The error's text says what to do; the grants are not lost.
	ErrUnavailable = errors.New("store not available")
	// ErrCorrupt: the record is damaged or was tampered with. The owner must
	// sign in again, unless a backup of the store exists.
	ErrCorrupt = errors.New("damaged record")
	// ErrTooLarge: the grant is beyond [MaxGrantSize], or a stored record is
	// beyond what a store reads.
	ErrTooLarge = errors.New("too large")
	// ErrMalformed: the key or grant that the caller gave cannot be stored, or
	// a store's configuration is wrong.
	ErrMalformed = errors.New("malformed")
	// ErrNewerFormat: the record was written by a newer version of this package,
	// which must read it too.
	ErrNewerFormat = errors.New("written by a newer version")
	// ErrWrongKey: the passphrase or identity does not open this folder, or the
	// folder's key is gone from the keyring.
	ErrWrongKey = errors.New("wrong key")
	// ErrConflict: the stored record is not the one that was loaded, as
	// [Grant.Revision] tells. Nothing was changed; load the grant again.
	ErrConflict = errors.New("the stored grant is another one")
	// ErrPartlySaved: the record was too large for the room that Reserve had made
	// sure of, and there was no more. What cannot be had again is saved, the refresh
	// token above all; the access token and the scopes are not.
	ErrPartlySaved = errors.New("saved in part")
	// ErrUnsafe: a file or folder belongs to someone else, is a symbolic link
	// or lets others in, and is therefore not used.
	ErrUnsafe = errors.New("unsafe file")
)

// Error is what every method of the stores in this package fails with.
type Error struct {
	Op    string // what was tried: "save grant", "open folder", ...
	Key   Key    // the grant it was about; the zero Key when about the store
	Class error  // one of the sentinels of this package, or nil
	Hint  string // what to do about it; may be empty
	Err   error  // the cause; may be nil
}

// Error gives "tokenstore: operation: cause", with the class and the hint. Text
// from outside is quoted and cut.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("tokenstore: ")
	b.WriteString(e.Op)
	if e.Key != (Key{}) {
		fmt.Fprintf(&b, " %s of client %s at %s", quote(e.Key.GrantID), quote(e.Key.ClientID), quote(e.Key.Issuer))
	}
	if e.Class != nil {
		b.WriteString(": ")
		b.WriteString(e.Class.Error())
	}
	if e.Err != nil && e.Err != e.Class {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	var list []error
	if e.Class != nil {
		list = append(list, e.Class)
	}
	if e.Err != nil {
		list = append(list, e.Err)
	}
	return list
}

// quote makes text from outside safe to show: escaped and at most 80 bytes.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
