package pull

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/fds-sdk/fds-go/fds"
)

// listError says what makes an answer no list. It holds nothing of the answer.
type listError struct{ text string }

func (e *listError) Error() string { return "pull: list: " + e.text }

func notAList(format string, args ...any) error {
	return &listError{fmt.Sprintf(format, args...)}
}

// refusedError is an error object in place of a list.
type refusedError struct{ object fds.ErrorObject }

func (e *refusedError) Error() string { return "pull: list: an error object in its place" }

// listDecoder takes a list apart while it arrives: an array of items or, when
// member is not "", an object whose member of that name holds the array.
type listDecoder struct {
	decoder *json.Decoder
	body    *boundedBody
	member  string
	maxItem int64
}

func newListDecoder(body io.Reader, member string, maxBody, maxItem int64) *listDecoder {
	bounded := &boundedBody{from: body, max: maxBody, maxItem: maxItem}
	decoder := json.NewDecoder(bounded)
	bounded.consumed = decoder.InputOffset
	return &listDecoder{decoder: decoder, body: bounded, member: member, maxItem: maxItem}
}

// each calls visit with the bytes of every item, as they were sent, until visit
// gives false; more says that it never did. Errors are a listError, a
// refusedError or the body's own; io.ErrUnexpectedEOF when it ended too soon.
func (d *listDecoder) each(visit func(json.RawMessage) bool) (more bool, err error) {
	more, err = d.answer(visit)
	if err == nil && more {
		err = d.end()
	}
	return more, d.explain(err)
}

func (d *listDecoder) answer(visit func(json.RawMessage) bool) (bool, error) {
	token, err := d.decoder.Token()
	switch {
	case errors.Is(err, io.EOF):
		return false, notAList("the answer is empty")
	case err != nil:
		return false, err
	case token == json.Delim('['):
		return d.array(visit)
	case token == json.Delim('{'):
		return d.object(visit)
	}
	return false, notAList("the answer is neither a list nor an object")
}

func (d *listDecoder) array(visit func(json.RawMessage) bool) (bool, error) {
	for d.decoder.More() {
		raw, err := d.value()
		if err != nil {
			return false, err
		}
		if !visit(raw) {
			return false, nil
		}
	}
	_, err := d.decoder.Token() // the bracket
	return true, err
}

func (d *listDecoder) object(visit func(json.RawMessage) bool) (bool, error) {
	found := false
	refused := map[string]json.RawMessage{}
	for d.decoder.More() {
		name, err := d.decoder.Token()
		if err != nil {
			return false, err
		}
		switch {
		case d.member != "" && name == d.member:
			if found {
				return false, notAList("the answer has two members %q", cut(d.member))
			}
			found = true
			bracket, err := d.decoder.Token()
			if err != nil {
				return false, err
			}
			if bracket != json.Delim('[') {
				return false, notAList("the answer's member %q is not a list", cut(d.member))
			}
			if more, err := d.array(visit); err != nil || !more {
				return false, err
			}
		default:
			raw, err := d.value()
			if err != nil {
				return false, err
			}
			if name == "status" || name == "message" {
				refused[name.(string)] = raw
			}
		}
	}
	if _, err := d.decoder.Token(); err != nil { // the brace
		return false, err
	}
	if found {
		return true, nil
	}
	if data, err := json.Marshal(refused); err == nil {
		if object, ok := fds.ParseErrorObject(data); ok {
			return false, &refusedError{object}
		}
	}
	if d.member != "" {
		return false, notAList("the answer has no member %q, which Dialect.ListMember names", cut(d.member))
	}
	return false, notAList("the answer is an object; if one of its members holds the list, name it in Dialect.ListMember")
}

func (d *listDecoder) value() (json.RawMessage, error) {
	var raw json.RawMessage
	if err := d.decoder.Decode(&raw); err != nil {
		return nil, err
	}
	if int64(len(raw)) > d.maxItem {
		return nil, errItemTooLarge
	}
	return raw, nil
}

// end reads to the end of the body, so that its connection can be used again.
func (d *listDecoder) end() error {
	switch _, err := d.decoder.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return notAList("something follows the list")
}

// explain turns the errors of encoding/json, whose text holds a part of the
// answer, into ours.
func (d *listDecoder) explain(err error) error {
	var (
		syntax *json.SyntaxError
		list   *listError
	)
	switch {
	case err == nil || errors.As(err, &list):
		return err
	case errors.As(err, &syntax):
		return notAList("it is not valid JSON after byte %d", d.decoder.InputOffset())
	case errors.Is(err, errItemTooLarge):
		return notAList("an item is larger than %d bytes; Config.MaxItemBytes sets the bound", d.maxItem)
	case errors.Is(err, errBodyTooLarge):
		return notAList("it is larger than %d bytes; ask for fewer items at once, or Config.MaxBodyBytes sets the bound", d.body.max)
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxGap bounds the white space between two items.
const maxGap = 4 << 10

var (
	errItemTooLarge = errors.New("item too large")
	errBodyTooLarge = errors.New("answer too large")
)

// boundedBody bounds what json.Decoder reads: all of it, and what it must hold
// of one item. An error stays.
type boundedBody struct {
	from         io.Reader
	consumed     func() int64 // how far the decoder has come
	max, maxItem int64
	total        int64
	err          error
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.err == nil && b.total-b.consumed() > b.maxItem+maxGap {
		b.err = errItemTooLarge // all of this is one value or white space, and its end is not in it
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.max-b.total+1)])
	b.total += int64(n)
	b.err = err
	if b.total > b.max {
		n--
		b.err = errBodyTooLarge
	}
	return n, b.err
}

// errorObject reads an error object from the start of a refusal's body.
func errorObject(body []byte) *fds.ErrorObject {
	object, ok := fds.ParseErrorObject(bytes.TrimSpace(body))
	if !ok {
		return nil
	}
	return &object
}
