package webapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// answer is what goes out, before faults have their way with it.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) send(w http.ResponseWriter) {
	hasBody := a.status != http.StatusNoContent && a.status != http.StatusNotModified
	if hasBody {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if hasBody {
		_, _ = w.Write(a.body) // a client that has gone away is no fault of the API
	}
}

func jsonAnswer(status int, body []byte) answer {
	return answer{status, http.Header{"Content-Type": {"application/json"}}, body}
}

// The messages that have no HTTP code's name.
const (
	msgUnauthorized   = "unauthorized_request"
	msgParameter      = "invalid_parameter"
	msgValue          = "invalid_parameter_value"
	msgTwice          = "duplicate_parameter"
	msgNotImplemented = "not_implemented"
	msgBody           = "invalid_body"
	msgEntity         = "unknown_entity"
	msgTagExists      = "tag_exists"
	msgTooManyTags    = "too_many_tags"
)

// errorObject is the body of an error, as FDS has it.
func errorObject(status int, message string) []byte {
	return []byte(`{"status":` + strconv.Itoa(status) + `,"message":` + quoted(message) + `}`)
}

// quoted returns a JSON string.
func quoted(text string) string {
	out, err := json.Marshal(text)
	if err != nil {
		panic("webapi: a string cannot be written as JSON: " + err.Error())
	}
	return string(out)
}

// failure answers an HTTP code with its error object; without a message it is
// the code's name.
func failure(status int, message string) answer {
	if message == "" {
		message = strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "_"))
	}
	return jsonAnswer(status, errorObject(status, message))
}

func unauthorized(challenges ...string) answer {
	ans := failure(http.StatusUnauthorized, msgUnauthorized)
	ans.header["Www-Authenticate"] = challenges
	return ans
}
