package authserver

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	maxAnswer = 256 << 10     // bytes of an answer that is taken
	maxRead   = 4 * maxAnswer // of one that is only searched for what must not be lost
	maxName   = 4 << 10       // of a member's name that is looked at
)

// What is wrong with an answer. Of the first kind are those that were cut; their
// errors match what cut them, too.
var (
	errCut       = errors.New("the answer ends in its midst")
	errTooLarge  = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	errMalformed = errors.New("the answer is not JSON")
	errNoObject  = errors.New("the answer is neither a JSON object nor a form")
)

const byteOrderMark = "\xef\xbb\xbf"

// readObject reads the members of those names from an answer, whatever its content
// type says: from JSON when it begins with a brace, else from a form (which some
// servers issue tokens in). A byte order mark is passed over.
//
// It reads on where a reader of JSON would end: past what is no JSON within a value,
// past what has no measure, and up to where the answer is cut, since nothing that was
// issued may be lost for the want of a comma. What is nested it never takes for what
// is not: brackets must match. Depth costs a bit each, so the bound on bytes bounds it.
func readObject(body io.Reader, names ...string) object {
	r := &reader{in: bufio.NewReader(io.LimitReader(body, maxRead)), names: names}
	c, ok := r.pastMarks()
	switch {
	case !ok:
		r.found.fault = r.end(errNoObject)
	case c == '{':
		r.found.fault = r.object()
	default:
		r.back()
		r.found.fault = r.form()
	}
	if r.read > maxAnswer {
		r.found.fault = errTooLarge
	}
	return r.found
}

// reader reads one answer, byte by byte.
type reader struct {
	in     *bufio.Reader
	read   int
	failed error // of the body; nil at its end
	names  []string
	found  object

	name, one kept // of the member at hand
}

// next returns the next byte; ok is false where there is none.
func (r *reader) next() (c byte, ok bool) {
	c, err := r.in.ReadByte()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			r.failed = err
		}
		return 0, false
	}
	r.read++
	return c, true
}

// back gives the last byte back.
func (r *reader) back() {
	_ = r.in.UnreadByte()
	r.read--
}

func (r *reader) pastSpace() (c byte, ok bool) {
	for {
		if c, ok = r.next(); !ok || (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
			return c, ok
		}
	}
}

// pastMarks passes over white space and byte order marks, however many editors and
// proxies have put there.
func (r *reader) pastMarks() (c byte, ok bool) {
	for {
		if c, ok = r.pastSpace(); !ok || c != byteOrderMark[0] {
			return c, ok
		}
		if rest, _ := r.in.Peek(len(byteOrderMark) - 1); string(rest) != byteOrderMark[1:] {
			return c, ok
		}
		for range len(byteOrderMark) - 1 {
			_, _ = r.next()
		}
	}
}

// end returns the error for an answer that ends here: why, if its body failed.
func (r *reader) end(fault error) error {
	if r.failed != nil {
		return fmt.Errorf("%w: %w", errCut, tlspolicy.Shown(r.failed))
	}
	return fault
}

// expect passes over white space and one of the bytes in wanted, which it returns.
func (r *reader) expect(wanted string) (c byte, err error) {
	c, ok := r.pastSpace()
	switch {
	case !ok:
		return 0, r.end(errCut)
	case strings.IndexByte(wanted, c) < 0:
		return 0, errMalformed
	}
	return c, nil
}

// object reads the object whose brace was read. What follows it is nobody's business: the
// object is whole.
func (r *reader) object() error {
	for wanted := `"}`; ; wanted = `"` {
		c, err := r.expect(wanted)
		if err != nil {
			return err
		}
		if c == '"' {
			if err := r.member(); err != nil {
				return err
			}
			if c, err = r.expect(",}"); err != nil {
				return err
			}
		}
		if c == '}' {
			return nil
		}
	}
}

// member reads a member from behind the first quotation mark of its name.
func (r *reader) member() error {
	r.name.reset(maxName)
	if err := r.text(&r.name); err != nil {
		return err
	}
	var name string
	if json.Unmarshal(r.name.bytes, &name) != nil || !slices.Contains(r.names, name) {
		name = ""
	}
	if _, err := r.expect(":"); err != nil {
		return err
	}
	if name == "" {
		r.one.reset(0)
		return r.value(&r.one)
	}
	r.one.reset(maxAnswer)
	if err := r.value(&r.one); err != nil {
		return err
	}
	r.found.add(name, r.one.bytes)
	r.one.bytes = nil // which is the member's now
	return nil
}

// text reads a text from behind its first quotation mark.
func (r *reader) text(k *kept) error {
	k.add('"')
	for {
		c, ok := r.next()
		if !ok {
			return r.end(errCut)
		}
		k.add(c)
		switch c {
		case '"':
			return nil
		case '\\':
			if c, ok = r.next(); !ok {
				return r.end(errCut)
			}
			k.add(c)
		}
	}
}

// value reads a value of any kind.
func (r *reader) value(k *kept) error {
	c, ok := r.pastSpace()
	switch {
	case !ok:
		return r.end(errCut)
	case c == '"':
		return r.text(k)
	case c == '{', c == '[':
		return r.nested(c, k)
	case strings.IndexByte(",}]:", c) >= 0:
		return errMalformed
	}
	for { // a number or a word, which may be none that JSON has
		k.add(c)
		if c, ok = r.next(); !ok {
			return r.end(errCut)
		}
		switch c {
		case ',', '}', ' ', '\t', '\r', '\n':
			r.back()
			return nil
		case '"', '{', '[', ']', ':':
			return errMalformed
		}
	}
}

// nested reads an object or an array whose first bracket was read.
func (r *reader) nested(c byte, k *kept) error {
	var open brackets
	for {
		switch c {
		case '"':
			if err := r.text(k); err != nil {
				return err
			}
		case '{', '[':
			k.add(c)
			open.push(c == '{')
		case '}', ']':
			k.add(c)
			if !open.pop(c == '}') {
				return errMalformed
			}
			if open.depth == 0 {
				return nil
			}
		default:
			k.add(c)
		}
		var ok bool
		if c, ok = r.next(); !ok {
			return r.end(errCut)
		}
	}
}

// kept is what is kept of a text that was read: all, or nothing when it is longer than
// most.
type kept struct {
	bytes []byte
	most  int
}

func (k *kept) reset(most int) { k.bytes, k.most = k.bytes[:0], most }

func (k *kept) add(c byte) {
	if len(k.bytes) >= k.most {
		k.reset(0)
		return
	}
	if n := len(k.bytes); n == cap(k.bytes) { // twice as many: append copies far more often
		k.bytes = append(make([]byte, 0, max(64, min(2*n, k.most))), k.bytes...)
	}
	k.bytes = append(k.bytes, c)
}

// brackets are those that are open, a bit each.
type brackets struct {
	depth int
	brace []uint64
}

func (b *brackets) push(brace bool) {
	word, bit := b.depth/64, uint64(1)<<(b.depth%64)
	if word == len(b.brace) {
		b.brace = append(b.brace, 0)
	}
	if b.brace[word] &^= bit; brace {
		b.brace[word] |= bit
	}
	b.depth++
}

// pop closes the last one that was opened, if it is of that kind.
func (b *brackets) pop(brace bool) bool {
	b.depth--
	return b.brace[b.depth/64]>>(b.depth%64)&1 == 1 == brace
}

// form reads the pairs of a form. A text that no form is, as a page in HTML, has none.
func (r *reader) form() error {
	r.one.reset(maxAnswer)
	ends, none := false, false
	for r.read <= maxAnswer {
		c, ok := r.next()
		if !ok {
			break
		}
		switch {
		case c == '\r', c == '\n':
			ends = true // and nothing may follow
		case ends, c <= ' ', c > '~', strings.IndexByte(`<>"{}\`, c) >= 0:
			none = true // it is read to its end all the same, so that the connection serves on
		case !none && r.read <= maxAnswer:
			r.one.add(c)
		}
	}
	if none {
		return r.end(errNoObject)
	}
	whole := r.failed == nil && r.read <= maxAnswer
	for name, value := range pairs(string(r.one.bytes), whole) {
		if slices.Contains(r.names, name) {
			raw, err := json.Marshal(value)
			if err != nil {
				continue // no text fails
			}
			r.found.add(name, raw)
		}
	}
	if len(r.found.members) == 0 {
		return r.end(errNoObject)
	}
	return r.end(nil)
}

// pairs returns those of a query or form, split at & alone. A pair whose name cannot be
// decoded is passed over, and what cannot be decoded of a value is left as it stands;
// either harms no other pair. Unless the text is whole its last pair may not be.
func pairs(text string, whole bool) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for more := true; more; {
			var pair string
			pair, text, more = strings.Cut(text, "&")
			if !more && !whole {
				return
			}
			name, value, _ := strings.Cut(pair, "=")
			name, err := url.QueryUnescape(name)
			if err != nil || pair == "" {
				continue
			}
			value = unescape(value)
			if !yield(name, value) {
				return
			}
		}
	}
}

// unescape decodes a value of a query or form, but for a percent sign that begins no
// escape.
func unescape(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return decoded
	}
	var b strings.Builder
	for len(text) > 0 {
		n := 1
		if text[0] == '%' && len(text) >= 3 {
			n = 3
		}
		decoded, err := url.QueryUnescape(text[:n])
		if err != nil {
			decoded, n = text[:1], 1
		}
		b.WriteString(decoded)
		text = text[n:]
	}
	return b.String()
}
