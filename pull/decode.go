package pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/fds-sdk/fds-go/fds"
)

// listError says what makes an answer no list. It holds nothing of the answer.
type listError struct{ text string }

func (e *listError) Error() string { return "pull: list: " + e.text }

func notAList(format string, args ...any) error {
	return &listError{fmt.Sprintf(format, args...)}
}

// refusedError is an error object in place of a list.
type refusedError struct{ body []byte }

func (e *refusedError) Error() string { return "pull: list: an error object in its place" }

// listDecoder takes a list apart while it arrives: an array of items or, when
// member is not "", also an object whose member of that name holds the array. What is
// wrong inside an item is left to who reads the item, as far as its end is clear.
type listDecoder struct {
	decoder *jsontext.Decoder
	body    *boundedBody
	member  string
	maxItem int64

	ofList int64 // the bound of the list, when that is what bounds the answer

	wanted []string // other members, named as the dialect names them
	kept   members  // of them, or of what they are in
	plain  bool     // the answer was the array, without an object around it

	found bool  // the list
	other error // what stands in the list's place
	bare  bool  // nothing was seen that could be a list under another name, or say that something failed
}

// newListDecoder reads from body. Waiting, which may be nil, is called before each
// read, which may take long.
func newListDecoder(body io.Reader, member string, maxBody, maxItem int64, waiting func() error) *listDecoder {
	bounded := &boundedBody{from: body, max: maxBody, maxItem: maxItem, waiting: waiting}
	decoder := jsontext.NewDecoder(bounded, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	bounded.consumed = decoder.InputOffset
	return &listDecoder{decoder: decoder, body: bounded, member: member, maxItem: maxItem, bare: true}
}

// each calls visit with the bytes of every item, as they were sent, in memory of
// their own. Errors are a listError, a refusedError or the body's own;
// io.ErrUnexpectedEOF when it ended too soon.
func (d *listDecoder) each(visit func(json.RawMessage) error) error {
	err := d.answer(visit)
	if err == nil {
		err = d.end()
	}
	return d.explain(err)
}

func (d *listDecoder) answer(visit func(json.RawMessage) error) error {
	switch kind := d.decoder.PeekKind(); kind {
	case '[':
		d.plain = true
		return d.array(visit)
	case '{':
		return d.object(visit)
	case 'n':
		_, err := d.decoder.ReadToken()
		return err // null is an empty list
	case jsontext.KindInvalid:
		_, err := d.decoder.ReadToken()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return notAList("the answer is empty")
		}
		return err
	}
	return notAList("the answer is neither a list nor an object")
}

func (d *listDecoder) array(visit func(json.RawMessage) error) error {
	if _, err := d.decoder.ReadToken(); err != nil { // the bracket
		return err
	}
	for d.decoder.PeekKind() != ']' {
		raw, err := d.value()
		if err != nil {
			return err
		}
		if err := visit(raw); err != nil {
			d.body.failed = err
			return err
		}
	}
	_, err := d.decoder.ReadToken()
	return err
}

func (d *listDecoder) object(visit func(json.RawMessage) error) error {
	refused := map[string]json.RawMessage{}
	if err := d.members("", refused, visit); err != nil {
		return err
	}
	if body, err := json.Marshal(refused); err == nil {
		whole := d.found && d.other == nil // a list may have a status and a message beside it
		if object, ok := fds.ParseErrorObject(body); ok && (!whole || saysNo(object)) {
			return &refusedError{body}
		}
	}
	switch {
	case d.found:
		return d.other
	case d.member == "":
		return notAList("the answer is an object; if one of its members holds the list, name it in fds.Dialect.ListMember")
	case d.bare:
		return nil // empty lists are left out, it may be
	}
	return notAList("the answer has no member %q, which fds.Dialect.ListMember names", cut(d.member))
}

// members reads an object; prefix, with a dot at its end, is where it stands. What it
// says of a refusal goes to refused.
func (d *listDecoder) members(prefix string, refused map[string]json.RawMessage, visit func(json.RawMessage) error) error {
	if _, err := d.decoder.ReadToken(); err != nil { // the brace
		return err
	}
	for d.decoder.PeekKind() != '}' {
		token, err := d.decoder.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		switch at := prefix + name; {
		case d.member != "" && at == d.member:
			err = d.list(visit)
		case strings.HasPrefix(d.member, at+".") && d.decoder.PeekKind() == '{':
			err = d.members(at+".", refused, visit)
		default:
			var raw json.RawMessage
			if raw, err = d.value(); err != nil {
				break
			}
			kept := d.kept.keep(d.wanted, at, raw)
			d.bare = d.bare && (kept || isBare(name, raw))
			if prefix == "" && (name == "status" || name == "message") {
				refused[name] = raw
			}
		}
		if err != nil {
			return err
		}
	}
	_, err := d.decoder.ReadToken()
	return err
}

// list reads the member that the dialect names.
func (d *listDecoder) list(visit func(json.RawMessage) error) error {
	if d.found {
		return notAList("the answer has two members %q", cut(d.member))
	}
	d.found = true
	switch d.decoder.PeekKind() {
	case '[':
		return d.array(visit)
	case jsontext.KindInvalid, 'n': // null is an empty list
		_, err := d.decoder.ReadToken()
		return err
	}
	d.other = notAList("the answer's member %q is not a list", cut(d.member)) // in an error object, it may be
	_, err := d.value()
	return err
}

func (d *listDecoder) value() (json.RawMessage, error) {
	raw, err := d.decoder.ReadValue()
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > d.maxItem {
		return nil, errItemTooLarge
	}
	return append(make(json.RawMessage, 0, len(raw)), raw...), nil
}

// end reads to the end of the body, so that its connection can be used again.
func (d *listDecoder) end() error {
	if kind := d.decoder.PeekKind(); kind != jsontext.KindInvalid {
		return notAList("something follows the list")
	}
	if _, err := d.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// explain turns the decoder's errors, whose text holds a part of the answer, into
// ours.
func (d *listDecoder) explain(err error) error {
	var (
		syntax *jsontext.SyntacticError
		list   *listError
	)
	switch {
	case err == nil || errors.As(err, &list):
		return err
	case errors.Is(err, errItemTooLarge):
		return notAList("an item is larger than %d bytes; pull.Settings.MaxItemBytes sets the bound", d.maxItem)
	case errors.Is(err, errBodyTooLarge) && d.ofList > 0:
		return notAList("the list is larger than %d bytes; ask for less at once, or pull.Settings.MaxListBytes sets the bound", d.ofList)
	case errors.Is(err, errBodyTooLarge):
		return notAList("it is larger than %d bytes; ask for fewer items at once, or pull.Settings.MaxBodyBytes sets the bound", d.body.max)
	case d.body.failed != nil:
		return d.body.failed
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case errors.As(err, &syntax):
		return notAList("it is not valid JSON after byte %d", d.decoder.InputOffset())
	}
	return err
}

// maxGap bounds the white space between two items.
const maxGap = 4 << 10

var (
	errItemTooLarge = errors.New("item too large")
	errBodyTooLarge = errors.New("answer too large")
)

// boundedBody bounds what the decoder reads: all of it, and what it must hold of
// one item. An error stays.
type boundedBody struct {
	from         io.Reader
	waiting      func() error
	consumed     func() int64 // how far the decoder has come
	max, maxItem int64
	total        int64
	err          error
	failed       error // err, when it is none of ours and not the end
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.err == nil && b.total-b.consumed() > b.maxItem+maxGap {
		b.err = errItemTooLarge // all of this is one value or white space, and its end is not in it
	}
	if b.err == nil && b.waiting != nil {
		b.err = b.waiting()
		b.failed = b.err
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.max-b.total+1)])
	b.total += int64(n)
	b.err = err
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed = err
	}
	if b.total > b.max {
		n--
		b.err = errBodyTooLarge
	}
	return n, b.err
}
