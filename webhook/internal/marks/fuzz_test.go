package marks

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// FuzzASegment: whatever a segment holds, the good records in it and in those beside it are read, and
// the log goes on behind them.
func FuzzASegment(f *testing.F) {
	good := segmentBytes(time.Now(), marksOf(0, 5)...)
	f.Add(good, uint16(0), uint8(0))
	f.Add(good[:len(good)-3], uint16(40), uint8(9))
	f.Add(good[recordSize:], uint16(3), uint8(1))
	f.Add([]byte{}, uint16(0), uint8(0))
	f.Add([]byte(magic), uint16(0), uint8(0))
	newer := header()
	newer[len(magic)+3] = version + 1
	f.Add(append(withChecksum(newer[:recordSize-4]), good...), uint16(0), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, change uint8) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		data = bytes.Clone(data)
		if int(at) < len(data) {
			data[at] ^= change
		}
		found := map[Mark]int{}
		info, err := scan(bytes.NewReader(data), func(m Mark, _ int64) { found[m]++ })
		if err != nil && !errors.Is(err, fds.ErrNewerFormat) {
			t.Fatal(err)
		}

		folder := t.TempDir()
		write(t, folder, nameOf(1), segmentBytes(time.Now(), marksOf(1000, 1003)...))
		write(t, folder, nameOf(2), data)
		between := len(data)%2 == 0
		if between {
			write(t, folder, nameOf(3), segmentBytes(time.Now(), marksOf(1003, 1006)...))
		}
		l, openErr := Open(Settings{Folder: folder, For: 250 * 365 * 24 * time.Hour})
		if err != nil {
			if !errors.Is(openErr, fds.ErrNewerFormat) || !bytes.Equal(read(t, folder, nameOf(2)), data) {
				t.Fatal(openErr)
			}
			return
		}
		if openErr != nil {
			t.Fatal(openErr)
		}
		count := 0
		for place := recordSize; place+recordSize <= len(data); place += recordSize {
			if record := data[place : place+recordSize]; isWhole(record) {
				count++
				if m := Mark(record[:16]); found[m] == 0 || !l.Seen(m) {
					t.Fatalf("the good record at %d is not seen", place)
				}
			}
		}
		if info.damaged > len(data)/recordSize || info.end > info.looked || count > info.end {
			t.Fatalf("%+v", info)
		}
		add(t, l, mark(2000))
		closed(t, l)
		l = open(t, Settings{Folder: folder, For: 250 * 365 * 24 * time.Hour})
		seen(t, l, 1000, 1003)
		seen(t, l, 2000, 2001)
		if between {
			seen(t, l, 1003, 1006)
		}
		for m := range found {
			if !l.Seen(m) {
				t.Fatal("a mark was lost by going on")
			}
		}
	})
}
