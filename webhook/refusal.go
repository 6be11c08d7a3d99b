package webhook

import (
	"cmp"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// comeAgain is how long a sender is asked to wait that could not be served now.
const comeAgain = 10 * time.Second

// refusal is why a delivery is not taken, and how that is answered. What it says is for this side's
// log: a sender learns the status alone.
type refusal struct {
	status int
	why    string
	text   string        // for the sender; "": that of the status
	class  error         // nil: none
	code   string        // of RFC 6750 section 3.1, for the challenge; "": none
	cause  error         // nil: none
	after  time.Duration // when the sender is to come again; 0: comeAgain
}

// Error says why.
func (e *refusal) Error() string {
	if e.cause != nil {
		return "webhook: " + e.why + ": " + e.cause.Error()
	}
	return "webhook: " + e.why
}

// Unwrap returns the class and the cause.
func (e *refusal) Unwrap() (all []error) {
	if e.class != nil {
		all = append(all, e.class)
	}
	if e.cause != nil {
		all = append(all, e.cause)
	}
	return all
}

// untrusted refuses a token.
func untrusted(why string) error {
	return &refusal{status: http.StatusUnauthorized, why: "the token is refused: " + why, code: "invalid_token"}
}

// unsigned refuses a delivery whose signature does not count.
func unsigned(why string) error {
	return &refusal{status: http.StatusUnauthorized, why: "the signature is refused: " + why}
}

// forbidden refuses a delivery for an owner.
func forbidden(why string) error {
	return &refusal{status: http.StatusForbidden, why: why, class: fds.ErrOwner}
}

// malformed refuses a request that no repetition makes better.
func malformed(status int, why string) error { return &refusal{status: status, why: why} }

// later asks the sender to come again, since there is no room or no end here now.
func later(why string) error { return &refusal{status: http.StatusServiceUnavailable, why: why} }

// unknown asks the sender to come again, since what the issuer has to say cannot be had now.
func unknown(why string) error {
	return &refusal{status: http.StatusServiceUnavailable, why: why, class: fds.ErrUnavailable}
}

// sentences are what a sender reads, whoever that is.
var sentences = map[int]string{
	http.StatusBadRequest:            "The request is not what is taken here.",
	http.StatusUnauthorized:          "The access token, or the signature, is missing or not accepted.",
	http.StatusForbidden:             "Deliveries for this owner are not accepted with this access token.",
	http.StatusNotFound:              "There is nothing here.",
	http.StatusMethodNotAllowed:      "Deliveries are sent by POST.",
	http.StatusRequestTimeout:        "The body took too long.",
	http.StatusLengthRequired:        "The request must say its Content-Length.",
	http.StatusRequestEntityTooLarge: "The body is too large.",
	http.StatusUnsupportedMediaType:  "The body must be JSON, not compressed.",
	http.StatusTooManyRequests:       "Too much of this owner is in hand; come again.",
	http.StatusServiceUnavailable:    "It could not be taken now; come again.",
}

// unencrypted is what a sender reads whose request did not come by TLS.
const unencrypted = "HTTPS is required."

// write answers a request. A connection that a proxy has is not closed: others' requests come by it.
func (e *refusal) write(w http.ResponseWriter, viaProxy bool) {
	h := w.Header()
	switch e.status {
	case http.StatusUnauthorized:
		challenge := "Bearer"
		if e.code != "" {
			challenge += ` error="` + e.code + `"`
		}
		h.Set("WWW-Authenticate", challenge)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.FormatFloat(math.Ceil(cmp.Or(e.after, comeAgain).Seconds()), 'f', 0, 64))
	}
	switch e.status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed:
		if !viaProxy {
			h.Set("Connection", "close") // nobody holds one without a token
		}
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close") // what is left of the body is not read
	}
	text := cmp.Or(e.text, sentences[e.status]) + "\n"
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(e.status)
	_, _ = w.Write([]byte(text))
}
