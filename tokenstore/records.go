package tokenstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

// systemChunk is how many bytes of text go into one keyring entry: Windows takes
// 2,560 bytes; go-keyring's command line on macOS takes 4,096 with names, quoting
// and base64; the Secret Service sets no bound.
var systemChunk = func() int {
	switch runtime.GOOS {
	case "windows", "darwin":
		return 2400
	}
	return 64 << 10
}()

// records puts texts of any length into a keyring's entries.
//
// A record that fits is one entry, its head. Of a longer one the head only says
// where its parts are: in entries of generation a or b. A write makes parts of the
// generation that is not in use, then switches the head, then removes parts that
// are not in use. So a crash leaves the old record or the new one, and at worst
// parts that the next write or removal of the same record sweeps up. For that the
// parts of a generation that exist are at all times numbers 0 to n without a gap:
// they are made upwards and removed downwards.
//
// Writers exclude one another; readers may find parts that do not fit together.
type records struct {
	items items
	chunk int
}

const (
	wholeMark   = "fds1 "  // and the text
	partsMark   = "fds1+ " // generation, number of parts, bytes, SHA-256 of the text
	anyMark     = "fds"
	maxRecord   = 1 << 20 // bytes
	generationA = "a"
	generationB = "b"
)

// errParts: the entries of a record do not make up a record.
var errParts = errors.New("the keyring's entries of this record do not fit together")

// head is a record's first entry.
type head struct {
	text fds.Secret // of a record without parts

	generation string // of one with parts; else ""
	parts      int
	size       int
	sum        string
}

func partName(name, generation string, n int) string {
	return name + "." + generation + "." + strconv.Itoa(n)
}

// head returns the head, or an error that matches errNoItem, errParts or fds.ErrNewerFormat.
func (r records) head(ctx context.Context, name string) (head, error) {
	secret, err := r.items.get(ctx, name)
	if err != nil {
		return head{}, err
	}
	text := secret.Reveal()
	if whole, ok := strings.CutPrefix(text, wholeMark); ok {
		return head{text: fds.NewSecret(whole)}, nil
	}
	fields, ok := strings.CutPrefix(text, partsMark)
	if !ok {
		if strings.HasPrefix(text, anyMark) {
			return head{}, &Error{Op: "read record", Class: fds.ErrNewerFormat, Err: errors.New("the keyring's entry has a form that this program does not know")}
		}
		return head{}, errParts
	}
	var h head
	if _, err := fmt.Sscanf(fields, "%1s %d %d %64s", &h.generation, &h.parts, &h.size, &h.sum); err != nil {
		return head{}, errParts
	}
	if h.generation != generationA && h.generation != generationB || h.size > maxRecord || h.parts < 1 || h.parts > h.size {
		return head{}, errParts
	}
	return h, nil
}

// get returns the record's text. Errors are those of head.
func (r records) get(ctx context.Context, name string) (fds.Secret, error) {
	h, err := r.head(ctx, name)
	if err != nil {
		return fds.Secret{}, err
	}
	return r.text(ctx, name, h)
}

// text returns the text of the record with that head.
func (r records) text(ctx context.Context, name string, h head) (fds.Secret, error) {
	if h.generation == "" {
		return h.text, nil
	}
	var text strings.Builder
	for n := range h.parts {
		part, err := r.items.get(ctx, partName(name, h.generation, n))
		if errors.Is(err, errNoItem) {
			return fds.Secret{}, errParts
		}
		if err != nil {
			return fds.Secret{}, err
		}
		if text.Len()+len(part.Reveal()) > h.size {
			return fds.Secret{}, errParts
		}
		text.WriteString(part.Reveal())
	}
	if textSum(text.String()) != h.sum {
		return fds.Secret{}, errParts
	}
	return fds.NewSecret(text.String()), nil
}

func textSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// put writes the record. Once it has returned nil the record is there; what could
// not be swept up is left to the next put or remove.
func (r records) put(ctx context.Context, name string, secret fds.Secret) error {
	old, err := r.head(ctx, name)
	if err != nil && !errors.Is(err, errNoItem) && !errors.Is(err, errParts) {
		return err
	}
	return r.replace(ctx, name, old, secret)
}

// replace is put for a record whose head is old, the zero head where there is none.
func (r records) replace(ctx context.Context, name string, old head, secret fds.Secret) error {
	text := secret.Reveal()
	if len(text) > maxRecord {
		return &Error{Op: "write record", Class: fds.ErrTooLarge, Err: fmt.Errorf("it has %d bytes, the bound is %d", len(text), maxRecord), Hint: elsewhere}
	}
	if len(wholeMark)+len(text) <= r.chunk {
		if err := r.items.set(ctx, name, fds.NewSecret(wholeMark+text)); err != nil {
			return err
		}
		_ = r.sweepAll(ctx, name, old)
		return nil
	}
	generation := generationA
	if old.generation == generationA {
		generation = generationB
	}
	parts := split(text, r.chunk)
	for n, part := range parts {
		if err := r.items.set(ctx, partName(name, generation, n), fds.NewSecret(part)); err != nil {
			return err
		}
	}
	now := fmt.Sprintf("%s%s %d %d %s", partsMark, generation, len(parts), len(text), textSum(text))
	if err := r.items.set(ctx, name, fds.NewSecret(now)); err != nil {
		return err
	}
	if r.sweep(ctx, name, generation, len(parts), 0) == nil {
		unused := generationA
		if generation == generationA {
			unused = generationB
		}
		_ = r.sweep(ctx, name, unused, 0, old.partsOf(unused))
	}
	return nil
}

// remove deletes the record: the head first, then all parts.
func (r records) remove(ctx context.Context, name string) error {
	old, err := r.head(ctx, name)
	if err != nil && !errors.Is(err, errNoItem) && !errors.Is(err, errParts) && !errors.Is(err, fds.ErrNewerFormat) {
		return err
	}
	if !errors.Is(err, errNoItem) {
		if err := r.items.remove(ctx, name); err != nil {
			return err
		}
	}
	return r.sweepAll(ctx, name, old)
}

func (h head) partsOf(generation string) int {
	if h.generation == generation {
		return h.parts
	}
	return 0
}

func (r records) sweepAll(ctx context.Context, name string, old head) error {
	for _, generation := range []string{generationA, generationB} {
		if err := r.sweep(ctx, name, generation, 0, old.partsOf(generation)); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the parts of a generation from number from on. There are known of
// them at least, if none was removed since.
func (r records) sweep(ctx context.Context, name, generation string, from, known int) error {
	end := max(from, known)
	for ; end < maxRecord; end++ {
		_, err := r.items.get(ctx, partName(name, generation, end))
		if errors.Is(err, errNoItem) {
			break
		}
		if err != nil {
			return err
		}
	}
	for n := end - 1; n >= from; n-- {
		if err := r.items.removeUnchecked(ctx, partName(name, generation, n)); err != nil {
			return err
		}
	}
	return nil
}

// split cuts text into pieces of at most size bytes, between characters: some
// keyrings keep only valid text.
func split(text string, size int) []string {
	var parts []string
	for len(text) > size {
		end := size
		for end > size-utf8.UTFMax && !utf8.RuneStart(text[end]) {
			end--
		}
		parts = append(parts, text[:end])
		text = text[end:]
	}
	return append(parts, text)
}

// recordError classes an error of a record; nil stays nil.
func recordError(op string, key Key, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errParts) {
		return &Error{Op: op, Key: key, Class: fds.ErrCorrupt, Err: err}
	}
	return keyringError(op, key, err)
}
