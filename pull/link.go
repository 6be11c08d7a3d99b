package pull

import (
	"net/http"
	"strings"
)

const maxLinkBytes = 8 << 10

// nextLink returns the target of the first link with the relation next in the Link
// headers (RFC 8288 section 3), or "". A link with an anchor is about something
// else and is passed over; so is what is malformed.
func nextLink(header http.Header) string {
	for _, value := range header.Values("Link") {
		for value != "" {
			var target string
			var next bool
			target, next, value = oneLink(value)
			if next {
				return target
			}
		}
	}
	return ""
}

// oneLink reads the first link of a header's value, and returns what follows it.
func oneLink(value string) (target string, next bool, rest string) {
	value = strings.TrimLeft(value, " \t,")
	if !strings.HasPrefix(value, "<") {
		return "", false, "" // no way to tell where the next one begins
	}
	target, rest, found := strings.Cut(value[1:], ">")
	if !found {
		return "", false, ""
	}
	relation, related, anchored := "", false, false
	for {
		rest = strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(rest, ";") {
			break
		}
		var name, text string
		name, text, rest = linkParameter(rest[1:])
		switch strings.ToLower(name) {
		case "rel":
			if !related { // the first one counts
				relation, related = text, true
			}
		case "anchor":
			anchored = true
		}
	}
	if rest != "" && rest[0] != ',' {
		rest = "" // malformed
	}
	for name := range strings.FieldsSeq(relation) {
		next = next || strings.EqualFold(name, "next")
	}
	return strings.TrimSpace(target), next && !anchored, rest
}

// linkParameter reads name=value, name="value" or a name alone.
func linkParameter(s string) (name, value, rest string) {
	s = strings.TrimLeft(s, " \t")
	end := strings.IndexAny(s, "=;, \t")
	if end < 0 {
		return s, "", ""
	}
	name, rest = s[:end], strings.TrimLeft(s[end:], " \t")
	if !strings.HasPrefix(rest, "=") {
		return name, "", rest
	}
	rest = strings.TrimLeft(rest[1:], " \t")
	if !strings.HasPrefix(rest, `"`) {
		if end = strings.IndexAny(rest, ";, \t"); end < 0 {
			end = len(rest)
		}
		return name, rest[:end], rest[end:]
	}
	var text strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			return name, text.String(), rest[i+1:]
		case c == '\\' && i+1 < len(rest):
			i++
			text.WriteByte(rest[i])
		default:
			text.WriteByte(c)
		}
	}
	return name, "", "" // the quote does not end
}
