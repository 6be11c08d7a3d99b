package backoff

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAttackRetryAfterIsReadUpToABound(t *testing.T) {
	const (
		most = time.Hour
		date = "Mon, 23 Nov 2026 12:00:00 GMT"
	)
	for _, c := range []struct {
		header, date string
		want         time.Duration
	}{
		{"", date, 0},
		{"0", date, 0},
		{"17", date, 17 * time.Second},
		{"3600", date, most},
		{"3601", date, most},
		{"2147483647", date, most},
		{"2147483648", date, most},
		{"9223372036854775807", date, most},
		{"18446744073709551617", date, most}, // 1, for who forgets the overflow
		{strings.Repeat("9", 100_000), date, most},
		{"-1", date, 0},
		{"+1", date, 0},
		{"1.5", date, 0},
		{"0x10", date, 0},
		{"soon", date, 0},
		{"Mon, 23 Nov 2026 12:00:30 GMT", date, 30 * time.Second}, // by the server's clock, whatever ours says
		{"Mon, 23 Nov 2026 11:59:30 GMT", date, 0},
		{"Mon, 23 Nov 1926 12:00:00 GMT", date, 0},
		{"Tue, 23 Nov 2027 12:00:00 GMT", date, most},
		{"Fri, 31 Dec 9999 23:59:59 GMT", date, most},
		{"Fri, 31 Dec 9999 23:59:59 GMT", "no date", most}, // by ours
		{"Thu, 01 Jan 1970 00:00:00 GMT", "", 0},
	} {
		header := http.Header{"Retry-After": {c.header}, "Date": {c.date}}
		if got := Asked(header, most); got != c.want {
			t.Errorf("Retry-After %.40q, Date %q: %v, want %v", c.header, c.date, got, c.want)
		}
	}
}
