package netpeer

import "strings"

// WithoutUser returns a URL for an error text, without what may be a password in it,
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
