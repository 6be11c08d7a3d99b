package tlspolicy

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown bounds the text of a foreign error: a certificate may name 52 KB of hosts.
const maxShown = 300

// Shown returns err with a text that is fit for logs and terminals, on one line and of
// bounded length: the errors of TLS, HTTP and the name service quote what the other
// side wrote, such as the names in its certificate. errors.Is and errors.As find what
// they would find in err.
func Shown(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if fit := escaped(text); fit != text {
		return &shownError{fit, err}
	}
	return err
}

type shownError struct {
	text string
	err  error
}

func (e *shownError) Error() string { return e.text }

func (e *shownError) Unwrap() error { return e.err }

// Timeout is what net/http asks its errors for.
func (e *shownError) Timeout() bool {
	var timeout interface{ Timeout() bool }
	return errors.As(e.err, &timeout) && timeout.Timeout()
}

// escaped writes what cannot be seen as Go would, and cuts.
func escaped(text string) string {
	var fit strings.Builder
	for at := 0; at < len(text); {
		if fit.Len() >= maxShown {
			fit.WriteString("... (" + strconv.Itoa(len(text)) + " bytes)")
			break
		}
		r, size := utf8.DecodeRuneInString(text[at:])
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			quoted := strconv.Quote(text[at : at+size])
			fit.WriteString(quoted[1 : len(quoted)-1])
		} else {
			fit.WriteString(text[at : at+size])
		}
		at += size
	}
	return fit.String()
}
