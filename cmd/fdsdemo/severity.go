package main

import (
	"cmp"
	"slices"
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

// severityWords are the severities of RFC 5424 section 6.2.1, from the gravest down. FDS names none,
// so that of another word nothing is known.
var severityWords = []string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}

// usualWords are short forms of them.
var usualWords = map[string]string{"emerg": "emergency", "crit": "critical", "err": "error", "warn": "warning", "info": "informational"}

// gradeOf returns where a word stands among severityWords.
func gradeOf(word string) (grade int, known bool) {
	word = strings.ToLower(word)
	grade = slices.Index(severityWords, cmp.Or(usualWords[word], word))
	return grade, grade >= 0
}

// gravityOf returns how grave a word is.
func gravityOf(word string) gravity {
	grade, known := gradeOf(word)
	switch {
	case !known:
		return gravityUnknown
	case grade <= 3:
		return gravityError
	case grade == 4:
		return gravityWarning
	case grade <= 6:
		return gravityInfo
	}
	return gravityDebug
}

// showSeverity writes the provider's word in a colour, with a sign for those who do not see it.
func showSeverity(word string, s terminal.Style) string {
	text := terminal.Short(word)
	switch gravityOf(word) {
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
