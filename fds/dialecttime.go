package fds

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Time reads the date-time of a status or an event message: a string in TimeLayout or in
// a form of ISO 8601 that leaves nothing open, also with an offset without colon, or a
// number since 1970, of seconds or, as its size tells, of milliseconds, microseconds or
// nanoseconds. False: it has none that the dialect names.
func (d Dialect) Time(item Item) (time.Time, bool) {
	if d.TimeMember == "" {
		return time.Time{}, false
	}
	raw, _ := item.Member(strings.Split(d.TimeMember, ".")...)
	text, quoted := stringValue(raw)
	if !quoted {
		number, _ := scalar(raw)
		return unixTime(number)
	}
	text = strings.TrimSpace(text)
	if at, err := time.Parse(d.WithDefaults().TimeLayout, text); err == nil && text != "" {
		return at, true
	}
	return isoTime(text)
}

// isoLayouts are forms of ISO 8601 and RFC 3339 with a zone. What package time reads,
// fractions of a second, needs no layout of its own.
var isoLayouts = []string{
	time.RFC3339,
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05Z07",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04Z0700",
	"2006-01-02T15:04Z07",
	"20060102T150405Z07:00",
	"20060102T150405Z0700",
	"20060102T150405Z07",
	"20060102T1504Z0700",
}

// isoTime reads a date-time that says its zone, and Unix time that was written as a
// string.
func isoTime(text string) (time.Time, bool) {
	const longest = 64
	if len(text) > longest {
		return time.Time{}, false
	}
	if strings.Trim(text, "0123456789") == "" && (len(text) == 10 || len(text) == 13) {
		if _, err := time.Parse("2006010215", text); err != nil { // which could be a date
			return unixTime(text)
		}
		return time.Time{}, false
	}
	text = strings.ToUpper(text)
	for _, zone := range []string{"UTC", "GMT"} {
		if before, found := strings.CutSuffix(text, zone); found {
			text = strings.TrimSpace(before) + "Z"
		}
	}
	if date, clock, found := strings.Cut(text, " "); found {
		text = date + "T" + clock
	}
	text = strings.Replace(text, " ", "", 1) // before the zone
	for _, layout := range isoLayouts {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// unixTime reads the decimal number of seconds, or of thousandths, millionths or
// billionths, since 1970. None of them is near another between 1973 and 5138.
func unixTime(number string) (time.Time, bool) {
	const year5138 = 1e11 // in seconds
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || value < 1e8 || value > math.MaxInt64 {
		return time.Time{}, false
	}
	digits := 9 // of a unit's nanoseconds
	for value >= year5138 && digits > 0 {
		value /= 1000
		digits -= 3
	}
	whole, fraction, _ := strings.Cut(number, ".")
	if strings.ContainsAny(number, "eE") {
		whole, fraction, _ = strings.Cut(strconv.FormatFloat(value, 'f', 9, 64), ".")
		digits = 9
	}
	units, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	rest, err := strconv.ParseInt((fraction + "000000000")[:digits], 10, 64)
	if digits == 0 {
		rest, err = 0, nil
	}
	if err != nil {
		return time.Time{}, false
	}
	perSecond := int64(math.Pow10(9 - digits))
	return time.Unix(units/perSecond, units%perSecond*int64(math.Pow10(digits))+rest), true
}
