package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// filterFlags are those of get for which FDS names no query parameter.
type filterFlags struct{ from, to, language string }

func (f filterFlags) parse(given func(flag string) bool, query *pull.Query) error {
	var err error
	if given("from") {
		if query.From, err = parseTime("--from", f.from, false); err != nil {
			return err
		}
	}
	if given("to") {
		if query.To, err = parseTime("--to", f.to, true); err != nil {
			return err
		}
	}
	if given("from") && given("to") && query.To.Before(query.From) {
		return wrongUsage("--to %s is before --from %s", f.to, f.from)
	}
	query.Language = f.language
	return nil
}

// parseTime reads a time, how long ago one was, or a date, of which it returns the beginning or
// the end by this machine's time zone, as the tables show times.
func parseTime(flag, text string, end bool) (time.Time, error) {
	if ago, err := parseAgo(text); err == nil {
		return time.Now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		if at, err = time.ParseInLocation(time.DateOnly, text, time.Local); err == nil && end {
			at = at.AddDate(0, 0, 1)
		}
	}
	if err != nil || at.Year() < 1000 || at.Year() > 9998 {
		return time.Time{}, wrongUsage("%s %q is no time; write one like 2026-11-25T13:00:00Z, a date like 2026-11-25, or how long ago it was, like 5m, 2h30m or 7d", flag, text)
	}
	return at, nil
}

// mostAgo keeps what is so long ago within the years that can be written.
const mostAgo = 100 * 365 * 24 * time.Hour

// parseAgo reads a duration as Go writes one, or a number of days such as 7d.
func parseAgo(text string) (time.Duration, error) {
	var ago time.Duration
	var err error
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n <= int(mostAgo/(24*time.Hour)) {
			ago = time.Duration(n) * 24 * time.Hour
		}
	} else {
		ago, err = time.ParseDuration(text)
	}
	if err != nil || ago <= 0 || ago > mostAgo {
		return 0, errors.New("not so long ago")
	}
	return ago, nil
}

// checkNarrowing refuses what the provider would not be asked for, since FDS
// names no parameter for it, rather than showing more than was wanted.
func checkNarrowing(query pull.Query, dialect fds.Dialect) error {
	for _, n := range []struct {
		flag, parameter, key string
		wanted               bool
	}{
		{"--from", dialect.FromParameter, "from_parameter", !query.From.IsZero()},
		{"--to", dialect.ToParameter, "to_parameter", !query.To.IsZero()},
		{"--language", dialect.LanguageParameter, "language_parameter", query.Language != ""},
	} {
		if n.wanted && n.parameter == "" {
			return wrongUsage("%s is of no use without the name that the provider gives to its query parameter, which FDS leaves open; set provider.dialect.%s", n.flag, n.key)
		}
	}
	layout := dialect.WithDefaults().TimeLayout
	for flag, at := range map[string]time.Time{"--from": query.From, "--to": query.To} {
		back, err := time.Parse(layout, at.UTC().Format(layout))
		if !at.IsZero() && (err != nil || back.Format(time.DateOnly) != at.UTC().Format(time.DateOnly)) {
			return wrongUsage("%s %s cannot be written as provider.dialect.time_layout %q has it", flag, at.Format(time.RFC3339), layout)
		}
	}
	return nil
}
