package authserver

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

const (
	longestText   = 200 // bytes of what a third party wrote, in an error
	longestCode   = 64
	shortestKnown = 8 // bytes of a secret that is looked for: shorter ones are in every text
	cut           = "..."
	redacted      = "[redacted]"
)

// Describe makes a text of a third party fit for an error: of 200 bytes at most,
// without control characters, without any of the secrets that we sent, plain or as in
// a URL or in quotes. It looks at no more of the text than it returns.
func Describe(text string, secrets ...fds.Secret) string {
	forms := formsOf(secrets)
	var b strings.Builder
	fits := 0 // so much of b leaves room for the cut
	for len(text) > 0 {
		piece, n := redacted, secretAt(text, forms)
		if n == 0 {
			var r rune
			r, n = utf8.DecodeRuneInString(text)
			switch {
			case r == utf8.RuneError && n == 1:
				piece = "?"
			case !unicode.IsPrint(r): // also C1 controls and marks that turn the direction of text
				piece = " "
			default:
				piece = text[:n]
			}
		}
		if b.Len()+len(piece) > longestText {
			return b.String()[:fits] + cut
		}
		b.WriteString(piece)
		if b.Len() <= longestText-len(cut) {
			fits = b.Len()
		}
		text = text[n:]
	}
	return b.String()
}

// formsOf returns the texts by which secrets would be recognized.
func formsOf(secrets []fds.Secret) (forms []string) {
	for _, secret := range secrets {
		plain := secret.Reveal()
		if len(plain) < shortestKnown {
			continue
		}
		forms = append(forms, plain)
		escapes := []string{url.QueryEscape(plain), url.PathEscape(plain)}
		if strings.ContainsAny(plain, `"\`) {
			quoted := strconv.Quote(plain)
			escapes = append(escapes, quoted[1:len(quoted)-1])
		}
		for _, escaped := range escapes {
			if escaped != plain {
				forms = append(forms, escaped)
			}
		}
	}
	return forms
}

// secretAt returns the length of the longest secret that text begins with, or 0.
func secretAt(text string, forms []string) (longest int) {
	for _, form := range forms {
		if len(form) > longest && strings.HasPrefix(text, form) {
			longest = len(form)
		}
	}
	return longest
}

// errorCode returns code when it has the form of RFC 6749 section 5.2 and holds
// none of the secrets that we sent, else "".
func errorCode(code string, secrets ...fds.Secret) string {
	code = strings.TrimSpace(code)
	if len(code) > longestCode || strings.ContainsFunc(code, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return ""
	}
	if Describe(code, secrets...) != code {
		return ""
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
