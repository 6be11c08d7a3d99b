package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/live"
	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

// severityWords are the severities of RFC 5424 section 6.2.1, from the gravest down. FDS names
// none, so that of another word nothing is known.
var severityWords = []string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}

// usualWords are short forms of them.
var usualWords = map[string]string{"emerg": "emergency", "crit": "critical", "err": "error", "warn": "warning", "info": "informational"}

// gradeOf returns where a word stands among severityWords.
func gradeOf(word string) (grade int, known bool) {
	word = strings.ToLower(word)
	grade = slices.Index(severityWords, cmp.Or(usualWords[word], word))
	return grade, grade >= 0
}

// gravityOf returns how grave a word is, as far as this program knows it.
func gravityOf(word string) live.Gravity {
	grade, known := gradeOf(word)
	switch {
	case !known:
		return live.GravityUnknown
	case grade <= 3:
		return live.GravityError
	case grade == 4:
		return live.GravityWarning
	case grade <= 6:
		return live.GravityInfo
	}
	return live.GravityDebug
}

// showSeverity writes the provider's word in a colour, with a sign for those who do not see it.
func showSeverity(word string, s terminal.Style) string {
	text, g := terminal.Short(word), gravityOf(word)
	signed := g.Sign(s) + " " + text
	switch g {
	case live.GravityError:
		return s.Red(signed)
	case live.GravityWarning:
		return s.Yellow(signed)
	case live.GravityInfo:
		return s.Blue(signed)
	case live.GravityDebug:
		return s.Faint(signed)
	}
	return text
}
