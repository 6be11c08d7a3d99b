package main

import (
	"strings"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

// gravity is how grave an event is, as far as this program knows the provider's word for it.
type gravity uint8

const (
	gravityUnknown gravity = iota
	gravityDebug
	gravityInfo
	gravityWarning
	gravityError
)

// gravities are the severities of RFC 5424 section 6.2.1 with their usual short forms. FDS names
// none, so that of another word nothing is known.
var gravities = map[string]gravity{
	"emergency": gravityError, "emerg": gravityError, "alert": gravityError, "critical": gravityError, "crit": gravityError,
	"error": gravityError, "err": gravityError, "warning": gravityWarning, "warn": gravityWarning,
	"notice": gravityInfo, "informational": gravityInfo, "info": gravityInfo, "debug": gravityDebug,
}

// showSeverity writes the provider's word in a colour, with a sign for those who do not see it.
func showSeverity(word string, s terminal.Style) string {
	text := terminal.Short(word)
	switch gravities[strings.ToLower(word)] {
	case gravityError:
		return s.Red(s.Sign("✖", "!!") + " " + text)
	case gravityWarning:
		return s.Yellow(s.Sign("▲", "!") + " " + text)
	case gravityInfo:
		return s.Blue(s.Sign("●", "i") + " " + text)
	case gravityDebug:
		return s.Faint(s.Sign("·", ".") + " " + text)
	}
	return text
}
