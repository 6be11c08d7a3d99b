package fds

import "testing"

// An item cannot hold broken JSON unless a caller breaks the rule not to change
// its bytes; even then nothing may run out of the slice or without end.
func FuzzTheScanStaysInsideBrokenJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, `{"a"`, `{"a":`, `{"`, `{"a\`, `{"a":"\"`, `{"a":[{]}`, `{"":}`, `{,}`, `{"a":1}"b":2`, "{", `{"a":]]]]`, `{"\u":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		members := 0
		eachMember(data, func(name, value []byte) {
			members++
			if cap(value) != len(value) {
				t.Fatal("a value may grow into its neighbour")
			}
			stringValue(value)
		})
		if members > len(data) {
			t.Fatalf("%d members in %d bytes", members, len(data))
		}
		_, _ = Space{Item{data}}.chain()
	})
}
