package tlspolicy

import (
	"errors"
	"net/url"
	"slices"
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

// Without returns an error of a request that had those secrets: net/http quotes what is no HTTP,
// and a server, or what stands before it, may repeat there what it was sent. Where err, or what
// it wraps, has one, or its beginning since it was cut, no more is left than the text before it.
func Without(err error, secrets []string) error {
	var beginnings []string
	for _, secret := range secrets {
		if secret != "" {
			beginnings = append(beginnings, secret[:min(len(secret), tellingBytes)])
		}
	}
	if !repeats(err, beginnings) {
		return err
	}
	var of *url.Error
	if errors.As(err, &of) { // whose URL may hold some, too
		err = of.Err
	}
	text := err.Error()
	for _, beginning := range beginnings {
		text, _, _ = strings.Cut(text, beginning)
	}
	return Shown(errors.New(text + "[redacted]"))
}

// tellingBytes is how much of a secret tells that it is one.
const tellingBytes = 8

func repeats(err error, texts []string) bool {
	if err == nil {
		return false
	}
	said := err.Error()
	if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(said, text) }) {
		return true
	}
	switch wrapping := err.(type) {
	case interface{ Unwrap() error }:
		return repeats(wrapping.Unwrap(), texts)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wrapping.Unwrap(), func(cause error) bool { return repeats(cause, texts) })
	}
	return false
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
