package authserver

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/fds-sdk/fds-go/tokenstore"
)

// Describe makes a text from outside fit for an error: bounded, without control
// characters, without any of the secrets that we sent, plain or as in a URL.
func Describe(text string, secrets ...tokenstore.Secret) string {
	const limit = 200
	for _, s := range secrets {
		if !s.IsZero() {
			for _, form := range []string{s.Reveal(), url.QueryEscape(s.Reveal()), url.PathEscape(s.Reveal())} {
				text = strings.ReplaceAll(text, form, "[redacted]")
			}
		}
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // also C1 controls and marks that turn the direction of text
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}

// errorCode gives code when it has the form of RFC 6749 section 5.2 and holds
// none of the secrets that we sent, else "".
func errorCode(code string, secrets ...tokenstore.Secret) string {
	if len(code) > 64 || Describe(code, secrets...) != code {
		return ""
	}
	for _, r := range code {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return ""
		}
	}
	return code
}

// URLFault says what is wrong with a URL, or "".
func URLFault(value, scheme string) string {
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return "is not a URL"
	case u.Scheme != scheme:
		return fmt.Sprintf("must begin with %s:// because FDS demands TLS on every connection", scheme)
	case u.Hostname() == "":
		return "names no host"
	case u.User != nil:
		return "must hold no user name or password"
	}
	return ""
}

// WithoutUser gives a URL for an error text, without what may be a password in it,
// also where the text is no URL.
func WithoutUser(value string) string {
	at := strings.LastIndexByte(value, '@')
	if at < 0 {
		return value
	}
	scheme, _, ok := strings.Cut(value[:at], "://")
	if !ok {
		return "..." + value[at:]
	}
	return scheme + "://..." + value[at:]
}
