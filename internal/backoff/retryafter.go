package backoff

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Asked reads the Retry-After of an answer (RFC 9110 section 10.2.3), up to most:
// seconds, or a date, which is taken against the server's own clock when the answer
// tells it. Without a readable one it is 0.
func Asked(header http.Header, most time.Duration) time.Duration {
	value := header.Get("Retry-After")
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 31)
		if err != nil { // beyond any wait
			return most
		}
		return min(time.Duration(seconds)*time.Second, most)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), most)
}
