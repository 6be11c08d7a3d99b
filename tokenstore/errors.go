package tokenstore

import (
	"fmt"
	"strconv"
	"strings"
)

// Error is what every method of the stores in this package fails with.
type Error struct {
	Op    string // what was tried: "save grant", "open folder", ...
	Key   Key    // the grant it was about; the zero Key when about the store
	Class error  // one of the classes of package fds, or nil
	Hint  string // what to do about it; may be empty
	Err   error  // the cause; may be nil
}

// Error returns "tokenstore: operation: cause", with the class and the hint. Text
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

// Unwrap returns the class and the cause.
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
