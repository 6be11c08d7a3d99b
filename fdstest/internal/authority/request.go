package authority

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
)

// maxBody bounds the body of every request, in bytes.
const maxBody = 64 << 10

// parameters are those of one request. An empty one is left out, as RFC 6749
// section 3.1 demands.
type parameters struct {
	values    map[string]string
	repeated  []string // the names that came more than once, which is an error
	resources []string // of the parameter resource, the only one that may (RFC 8707 section 2)
}

func (p parameters) get(name string) string { return p.values[name] }

func parseParameters(raw string) (parameters, error) {
	all, err := url.ParseQuery(raw)
	if err != nil {
		return parameters{}, err
	}
	p := parameters{values: make(map[string]string, len(all))}
	for name, values := range all {
		if name == "resource" {
			p.resources = slices.DeleteFunc(values, func(v string) bool { return v == "" })
			continue
		}
		if len(values) > 1 {
			p.repeated = append(p.repeated, name)
		}
		if values[0] != "" {
			p.values[name] = values[0]
		}
	}
	slices.Sort(p.repeated)
	return p, nil
}

// readForm reads the body of a POST; parameters in the URL are ignored, because
// secrets must not be there (RFC 6749 section 2.3.1).
func readForm(r *http.Request) (parameters, *protocolError) {
	raw, failure := readFormBody(r)
	if failure != nil {
		return parameters{}, failure
	}
	p, err := parseParameters(raw)
	if err != nil {
		return parameters{}, invalidRequest("the body is not a well-formed form")
	}
	return p, nil
}

func readFormBody(r *http.Request) (string, *protocolError) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return "", invalidRequest("the body must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			failure := invalidRequest("the body is larger than 64 KiB")
			failure.status = http.StatusRequestEntityTooLarge
			return "", failure
		}
		return "", invalidRequest("the body could not be read")
	}
	return string(body), nil
}

// protocolError is an error answer of RFC 6749 section 5.2, or the error of an
// authorization response (section 4.1.2.1).
type protocolError struct {
	status      int // of a direct answer
	code        string
	description string
	challenge   string // WWW-Authenticate, when not empty
}

// refusal is an error answer with status 400.
func refusal(code, description string) *protocolError {
	return &protocolError{status: http.StatusBadRequest, code: code, description: description}
}

func invalidRequest(description string) *protocolError {
	return refusal("invalid_request", description)
}

func invalidGrant(description string) *protocolError {
	return refusal("invalid_grant", description)
}

func (e *protocolError) write(w http.ResponseWriter) {
	if e.challenge != "" {
		w.Header().Set("WWW-Authenticate", e.challenge)
	}
	members := map[string]string{"error": e.code}
	if e.description != "" {
		members["error_description"] = e.description
	}
	writeJSON(w, e.status, members)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone needs no answer
}
