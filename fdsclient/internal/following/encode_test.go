package following

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

// usualRecord is that of an owner who is pushed to, and had so many messages.
func usualRecord(messages int) record {
	var s seen
	for n := range messages {
		s.add(digests{what: rand.Uint64() &^ superseded, of: uint64(n%5 + 1)}, false)
	}
	return record{Filters: []string{"fds/v2/0f0e0d0c-0b0a-4908-8706-050403020100/#"}, Position: time.Now(), Ahead: -time.Second, Recent: s.bytes()}
}

func TestARecordIsEncodedAsInEarlierVersions(t *testing.T) {
	now := time.Now()
	records := []record{
		{}, usualRecord(0), usualRecord(1), usualRecord(3), usualRecord(1000),
		{Filters: []string{"a", "", "\"b\\", "<&>", "ä\u2028\x00\x7f\xff"}},
		{Position: now.UTC()}, {Position: now.In(time.FixedZone("", -5400))}, {Position: now.Truncate(time.Hour)},
		{Ahead: 1}, {Recent: []byte{}},
		{Gap: &Gap{}}, {Filters: []string{"a"}, Gap: &Gap{From: now, To: now, Since: now, Reason: "<why>"}, Recent: []byte{1}},
		{Polled: &polledRecord{}}, {Position: now, Polled: &polledRecord{Events: listRecord{From: now, Seen: []byte{1}, Part: true}, Begun: now}},
	}
	for n, r := range records {
		want, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.encode(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("record %d: %s, %v; want %s", n, got, err, want)
		}
	}
	for _, r := range []record{{Position: now.AddDate(10_000, 0, 0)}, {Gap: &Gap{Since: now.AddDate(10_000, 0, 0)}}} {
		if data, err := r.encode(); err == nil {
			t.Errorf("a year that no record can have is %s", data)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, r := range map[string]record{"first": usualRecord(1), "usual": usualRecord(200)} {
		b.Run(name+"/encode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.encode(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/json.Marshal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := json.Marshal(&r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRecent(b *testing.B) {
	var s seen
	for n := range uint64(seenUsual) {
		s.add(digests{what: 2 * n, of: n%5 + 1}, false)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.bytes()
	}
}
