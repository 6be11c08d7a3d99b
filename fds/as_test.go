package fds_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// mixed has a member of every kind for which encoding/json has a rule of its own.
type mixed struct {
	Any    any
	Number json.Number
	Texts  []string
	Counts map[string]int
	Inner  *mixed
	At     time.Time
	For    time.Duration
	Raw    json.RawMessage
	Pair   [2]float32
	Quoted int `json:",string"`
	Bytes  []byte
	Small  int8
	Yes    bool
	Odd    picky
	Level  level `json:"the level"`
}

func FuzzAsReadsWhatEncodingJSONReads(f *testing.F) {
	for _, seed := range []string{
		`{"any":{"a":1,"a":[2]},"number":1e400,"texts":["a",null,"\ud800\u0041"],"COUNTS":{"a":1,"a":2}}`,
		`{"number":"12","texts":null,"inner":{"small":7},"inner":{"yes":true},"for":5,"raw": [ 1 ] }`,
		`{"number":null,"at":"2026-10-02T10:00:00Z","pair":[1],"quoted":"5","bytes":"aGk=","the level":{"LEVEL":1.0}}`,
		`{"number":"x"}`, `{"pair":[1,2,3]}`, `{"small":128}`, `{"odd":null}`, `{"odd":1}`, `{"quoted":5}`, `{"at":7}`,
		`{"texts":["a"],"texts":[],"counts":{"a":1.5}}`, `{"bytes":[1,2]}`, `{"number":true}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		item, err := fds.ParseItem(data)
		if err != nil {
			return
		}
		var want mixed
		wantErr := json.Unmarshal(data, &want)
		if wantErr != nil {
			want = mixed{} // encoding/json leaves half a value, As none
		}
		if got, err := fds.As[mixed](item); (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v, %v\nwant %v, %v", data, got, err, want, wantErr)
		}
	})
}
