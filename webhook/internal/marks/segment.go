package marks

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/atomicfile"
)

const (
	suffix     = ".marks"
	magic      = "fdsmarks"
	version    = 1
	recordSize = 28 // the header's, too
)

var table = crc32.MakeTable(crc32.Castagnoli)

// segment is some marks that go together.
type segment struct {
	number      uint64
	set         map[Mark]struct{}
	sieve       []uint64 // a power of two of words
	count       int      // records, also those that are not written
	first, last time.Time
	sealed      bool   // gets no further mark
	todo        []byte // records that are not on disk

	// The writer's:
	written int      // records on disk
	named   bool     // its name is on disk
	file    *os.File // nil: not open
	lost    bool     // its file was removed while it was open
}

// errRemoved: what is written now nobody would find.
var errRemoved = errors.New("the file was removed, or another one put in its place, while it was in use; keep cleaners of temporary files away from the folder, and restart")

// inPlace returns an error when the file that was opened is not what the path leads to any more.
func (s *segment) inPlace(path string) error {
	if s.lost {
		return errRemoved
	}
	at, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	open, openErr := s.file.Stat()
	if openErr != nil {
		return openErr
	}
	if err != nil || !os.SameFile(at, open) {
		s.lost = true
		return errRemoved
	}
	return nil
}

// newSegment makes one for so many marks; with more it is slower.
func newSegment(number uint64, room int) *segment {
	words := 1
	for words < room/8 {
		words *= 2
	}
	return &segment{number: number, set: map[Mark]struct{}{}, sieve: make([]uint64, words)}
}

// put notes a mark.
func (s *segment) put(m Mark) {
	at := m.inSieve()
	s.sieve[at.word&uint64(len(s.sieve)-1)] |= at.bits
	s.set[m] = struct{}{}
}

// has reports whether a mark is there, whose place is told. The map is asked for few that are not:
// that takes long, and most marks that are looked for are in none of all segments.
func (s *segment) has(m Mark, at place) bool {
	if s.sieve[at.word&uint64(len(s.sieve)-1)]&at.bits != at.bits {
		return false
	}
	_, ok := s.set[m]
	return ok
}

// place is where a mark is in a sieve: in a segment that has it all of its bits are set there.
type place struct{ word, bits uint64 }

// inSieve returns a mark's place, which is four bits of a word. A mark is as good as random.
func (m Mark) inSieve() place {
	four := binary.BigEndian.Uint32(m[8:])
	return place{binary.BigEndian.Uint64(m[:]), 1<<(four&63) | 1<<(four>>6&63) | 1<<(four>>12&63) | 1<<(four>>18&63)}
}

// write appends records and returns those that are not on disk. After an error the file is opened
// anew by the next call, which writes them again: what a failed flush has left in the system's
// memory is not relied on.
func (s *segment) write(path string, records []byte) (rest []byte, err error) {
	defer func() {
		if err != nil && s.file != nil {
			_ = s.close() // the error to tell is the one before
		}
	}()
	if s.file == nil && !s.lost {
		if err := s.reopen(path); err != nil {
			return records, err
		}
	}
	if err := s.inPlace(path); err != nil {
		return records, err
	}
	const most = (1 << 20) / recordSize * recordSize // what a full disk has written in vain
	for len(records) > 0 {
		part := records[:min(most, len(records))]
		if _, err := s.file.WriteAt(part, s.size()); err != nil {
			return records, err
		}
		if err := s.file.Sync(); err != nil {
			return records, err
		}
		if !s.named {
			if err := atomicfile.SyncFolder(filepath.Dir(path)); err != nil {
				return records, err
			}
			s.named = true
		}
		s.written += len(part) / recordSize
		records = records[len(part):]
	}
	return nil, nil
}

// size is what the file has on disk.
func (s *segment) size() int64 { return int64(1+s.written) * recordSize }

// reopen opens the file for what is to be appended, and cuts off what is beyond.
func (s *segment) reopen(path string) error {
	file, err := atomicfile.OpenShared(path)
	if err != nil {
		return err
	}
	s.file = file
	info, err := file.Stat()
	if err != nil {
		return err
	}
	whole := int(info.Size() / recordSize)
	if whole == 0 || s.written == 0 { // else the header is there
		s.named = false
		if _, err := file.WriteAt(header(), 0); err != nil {
			return err
		}
	}
	s.written = min(s.written, max(0, whole-1)) // what someone cut off does not come back
	return file.Truncate(s.size())
}

func (s *segment) close() error {
	file := s.file
	s.file = nil
	if file == nil {
		return nil
	}
	return file.Close()
}

func header() []byte {
	h := make([]byte, recordSize-4, recordSize)
	copy(h, magic)
	binary.BigEndian.PutUint32(h[len(magic):], version)
	return withChecksum(h)
}

func appendRecord(to []byte, m Mark, unix int64) []byte {
	at := len(to)
	to = append(to, m[:]...)
	to = binary.BigEndian.AppendUint64(to, uint64(unix))
	return append(to[:at], withChecksum(to[at:])...)
}

func withChecksum(data []byte) []byte {
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, table))
}

func isWhole(record []byte) bool {
	sum := len(record) - 4
	return crc32.Checksum(record[:sum], table) == binary.BigEndian.Uint32(record[sum:])
}

// isHeader reports whether it is the header of a segment in this format. One of a newer format is an
// error that matches [fds.ErrNewerFormat].
func isHeader(h []byte) (bool, error) {
	if len(h) != recordSize || !bytes.HasPrefix(h, []byte(magic)) || !isWhole(h) {
		return false, nil
	}
	v := binary.BigEndian.Uint32(h[len(magic):])
	if v > version {
		return false, fmt.Errorf("%w: format %d", fds.ErrNewerFormat, v)
	}
	return v == version, nil
}

// scanned is what scan finds.
type scanned struct {
	header  bool // there is one
	end     int  // records up to the last good one
	looked  int  // records, good or not
	damaged int
	longer  bool // there is more than a segment has, which was not read
}

// scan reads a segment and calls add for each good record.
func scan(r io.Reader, add func(m Mark, unix int64)) (found scanned, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var record [recordSize]byte
	if _, err := io.ReadFull(in, record[:]); err != nil {
		return found, unlessEnd(err)
	}
	if found.header, err = isHeader(record[:]); err != nil {
		return found, err
	}
	if !found.header {
		found.damaged++
	}
	for {
		if _, err := io.ReadFull(in, record[:]); err != nil { // what a crash left unfinished is none
			return found, unlessEnd(err)
		}
		if found.looked == mostOfASegment {
			found.longer = true
			found.damaged++
			return found, nil
		}
		found.looked++
		if !isWhole(record[:]) {
			found.damaged++
			continue
		}
		found.end = found.looked
		add(Mark(record[:len(Mark{})]), int64(binary.BigEndian.Uint64(record[len(Mark{}):])))
	}
}

func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// nameOf returns the name of a segment's file.
func nameOf(number uint64) string { return fmt.Sprintf("%016x%s", number, suffix) }

// numberOf is the reverse of nameOf.
func numberOf(name string) (number uint64, ok bool) {
	number, err := strconv.ParseUint(strings.TrimSuffix(name, suffix), 16, 64)
	return number, err == nil && nameOf(number) == name
}
