package pull_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// fixed is a transport that returns one body, in pieces as the reader cuts them.
type fixed struct {
	body   []byte
	pieces func(io.Reader) io.Reader
}

func (f *fixed) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: request,
		Body: io.NopCloser(f.pieces(bytes.NewReader(f.body))),
	}, nil
}

// elements returns the list that encoding/json finds in an answer: an array, or
// the array that is the only member "list" of an object.
func elements(body []byte) (list []json.RawMessage, ok bool) {
	if !json.Valid(body) || lists(body) > 1 { // of two encoding/json takes the last
		return nil, false
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) == nil && members != nil {
		body = members["list"]
	}
	return list, json.Unmarshal(body, &list) == nil
}

// lists counts the members "list" of an object.
func lists(object []byte) (n int) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return 0
	}
	for decoder.More() {
		name, err := decoder.Token()
		var value json.RawMessage
		if err != nil || decoder.Decode(&value) != nil {
			return n
		}
		if name == "list" {
			n++
		}
	}
	return n
}

func FuzzAListIsWhatEncodingJSONFinds(f *testing.F) {
	for _, seed := range []string{
		`[]`, ` [ {"a":1} , {} ] `, `[1,{"a":[}]`, `{"list":[{},{"b":"\u00e9"}],"status":1}`, `{"status":400,"message":"invalid_parameter"}`, `[{}`, `[{}]]`, `[{}] x`, `{"list":[],"list":[{}]}`, `{"list":[""],"list":[]}`, `{"list":[{}],"list":[]}`,
		`{"l\u0069st":[{"a":1.0}]}`, `null`, `[[{}],"]",{"]":"["}]`, "[{\"a\":\"\xff\"},{}]", `[{"a":1,}]`, `[,]`, `{"list":[{}}`, `{"list":[{}]`,
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, cut uint8) {
		pieces := []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader}[cut%3]
		client := newClient(t, pull.Config{
			BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: &fixed{body, pieces}, Dialect: fds.Dialect{ListMember: "list"},
		})
		want, valid := elements(body)
		index := 0
		var last error
		for item, err := range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
			if last != nil {
				t.Fatalf("%q: something follows the error %v", body, last)
			}
			switch {
			case errors.Is(err, fds.ErrItem):
				if valid && utf8.Valid(want[index]) && want[index][0] == '{' {
					t.Fatalf("%q: item %d: %v", body, index, err)
				}
				index++
				continue
			case err != nil:
				last = err
				continue
			}
			if valid && (index >= len(want) || !bytes.Equal(item.Raw(), want[index])) {
				t.Fatalf("%q: item %d is %q, want %q", body, index, item.Raw(), want)
			}
			if _, err := fds.ParseItem(item.Raw()); err != nil {
				t.Fatalf("%q: %v", body, err)
			}
			index++
		}
		if last != nil {
			var failed *pull.Error
			if !errors.As(last, &failed) || len(last.Error()) > 700 || !utf8.ValidString(last.Error()) {
				t.Fatalf("%q: %v", body, last)
			}
			if valid && !bytes.Contains(body, []byte("status")) && !bytes.Contains(body, []byte(`\`)) { // an error object's, it may be
				t.Fatalf("%q: %v", body, last)
			}
			return
		}
		if isWithout := !valid && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")); isWithout && index == 0 && lists(body) == 0 {
			return // where an object has no list, that is an empty one, it may be
		}
		if !valid || index != len(want) {
			t.Fatalf("%q: %d items and no error, want %d, a list: %v", body, index, len(want), valid)
		}
	})
}
