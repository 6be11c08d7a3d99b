package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

// tags is the collection of tags, the only one in the singular.
const tags Kind = "tag"

// Tags lists the tags, the groups that consumers make of devices and spaces.
func (c *Client) Tags(ctx context.Context, query Query) iter.Seq2[fds.Tag, error] {
	parse := func(data []byte) (fds.Tag, error) { return fds.ParseTag(data, c.dialect) }
	return list(ctx, c, tags, query, parse, itemOfTag)
}

func itemOfTag(t fds.Tag) fds.Item { return t.Item }

// Tag reads one tag. Where Dialect.TagParameter is not set all tags are read, and
// the one is picked. fds.ErrNotFound: there is none with that ID.
func (c *Client) Tag(ctx context.Context, id string) (fds.Tag, error) {
	const operation = "get tag"
	if err := checkID(operation, id); err != nil {
		return fds.Tag{}, err
	}
	if c.dialect.TagParameter == "" {
		return c.pick(operation, id, c.Tags(ctx, Query{}))
	}
	target := c.under(string(tags))
	target.RawQuery = escape(c.dialect.TagParameter) + "=" + escape(id)
	e, err := c.ask(ctx, &request{operation: operation, kind: tags, method: http.MethodGet, target: target})
	if err != nil {
		return fds.Tag{}, err
	}
	defer e.close()
	if err := e.checkContent(); err != nil {
		return fds.Tag{}, err
	}
	body, err := e.read()
	if err != nil {
		return fds.Tag{}, err
	}
	item, err := fds.ParseItem(body)
	_, isList := memberOf(item, c.dialect.ListMember)
	if object, is := fds.ParseErrorObject(body); is && (!isList || saysNo(object)) {
		return fds.Tag{}, e.refusal(body)
	}
	if err == nil && !isList {
		tag, err := fds.ParseTag(body, c.dialect)
		if err == nil && tag.ID() != "" && tag.ID() != id {
			return fds.Tag{}, e.unusable("it is another tag: check Dialect.TagParameter")
		}
		if err != nil {
			return fds.Tag{}, err
		}
		if err := c.judge(tags, tag.Item, e.shared); err != nil {
			return c.pick(operation, id, func(yield func(fds.Tag, error) bool) { yield(fds.Tag{}, err) })
		}
		return tag, nil
	}
	return c.pick(operation, id, func(yield func(fds.Tag, error) bool) { // a list, of one tag in all likelihood
		more := true
		err := newListDecoder(bytes.NewReader(body), c.dialect.ListMember, c.maxBody, c.maxItem, nil).each(func(raw json.RawMessage) error {
			if more {
				tag, err := fds.ParseTag(raw, c.dialect)
				if err == nil {
					err = c.judge(tags, tag.Item, e.shared)
				}
				more = yield(tag, err)
			}
			return nil
		})
		if err != nil && more {
			yield(fds.Tag{}, e.unreadable(err))
		}
	})
}

// pick returns the tag with that ID. An error that is no *Error is about one tag.
func (c *Client) pick(operation, id string, list iter.Seq2[fds.Tag, error]) (fds.Tag, error) {
	failed := &Error{Operation: operation, Path: c.under(string(tags)).Path, class: fds.ErrNotFound, detail: fmt.Sprintf("no tag has the ID %q; tags whose member %q is not a string have none", cut(id), c.dialect.TagID)}
	for tag, err := range list {
		switch {
		case errors.Is(err, fds.ErrItem), errors.Is(err, errOthers): // not the one
		case errors.Is(err, errNobody): // it may be the one
			failed.class, failed.detail, failed.cause = nil, "", errNobody
		case err != nil:
			return fds.Tag{}, err
		case tag.ID() == id:
			return tag, nil
		}
	}
	return fds.Tag{}, failed
}

// Created is what a provider says of a tag that it has made.
type Created struct {
	ID  string  // from the answer's tag or, without, from its Location header; "" when it names none: look for the tag in Tags
	Tag fds.Tag // as the provider keeps it; zero when the answer does not hold it
}

// CreateTag has the provider make a tag. What a tag holds FDS leaves open: tag is
// written by encoding/json, a json.RawMessage as it is. The request is repeated only
// when the provider certainly did not carry it out. fds.ErrUnknownOutcome: it may have,
// but its answer was lost, or says neither yes nor no. fds.ErrOwner: the credentials are
// those of several owners; set Dialect.SubscriptionParameter, or have tag name its owner
// in the member Dialect.SubscriptionMember.
func (c *Client) CreateTag(ctx context.Context, tag any) (Created, error) {
	const operation = "create tag"
	content, err := c.contentOf(operation, tag)
	if err != nil {
		return Created{}, err
	}
	names, err := c.checkBody(operation, content)
	if err != nil {
		return Created{}, err
	}
	e, body, err := c.change(ctx, &request{operation: operation, kind: tags, names: names, method: http.MethodPost, target: c.under(string(tags)), content: content})
	if err != nil {
		return Created{}, err
	}
	var created Created
	if answer, err := fds.ParseTag(body, c.dialect); err == nil && answer.ID() != "" {
		if c.judge(tags, answer.Item, e.shared) != nil {
			failed := e.failure()
			failed.class, failed.detail = fds.ErrOwner, fmt.Sprintf("the provider answers with a tag of another owner, %q: look before you create it again", e.shown(answer.ID()))
			return Created{}, failed
		}
		created = Created{ID: answer.ID(), Tag: answer}
	}
	if at, err := e.target.Parse(e.response.Header.Get("Location")); err == nil && created.ID == "" {
		below, found := strings.CutPrefix(at.EscapedPath(), c.under(string(tags)).EscapedPath()+"/")
		if id, err := url.PathUnescape(below); found && err == nil && !strings.Contains(below, "/") {
			created.ID = id
		}
	}
	return created, nil
}

// SetEntities replaces the entities of a tag, its devices and spaces. How FDS writes
// them is open: entities is written by encoding/json, a json.RawMessage as it is.
func (c *Client) SetEntities(ctx context.Context, id string, entities any) error {
	const operation = "set entities of tag"
	if err := checkID(operation, id); err != nil {
		return err
	}
	content, err := c.contentOf(operation, entities)
	if err != nil {
		return err
	}
	names, err := c.checkBody(operation, content)
	if err != nil {
		return err
	}
	_, _, err = c.change(ctx, &request{operation: operation, kind: tags, names: names, method: http.MethodPut, target: c.under(string(tags), id, "entities"), content: content})
	return err
}

// DeleteTag deletes a tag. fds.ErrNotFound: there was none.
func (c *Client) DeleteTag(ctx context.Context, id string) error {
	const operation = "delete tag"
	if err := checkID(operation, id); err != nil {
		return err
	}
	r := &request{operation: operation, kind: tags, method: http.MethodDelete, target: c.under(string(tags), id)}
	_, _, err := c.change(ctx, r)
	if errors.Is(err, fds.ErrNotFound) && r.doubt {
		return nil // an attempt before this one did it
	}
	return err
}

// change sends a request that changes something and returns the answer's body. The
// exchange is closed.
func (c *Client) change(ctx context.Context, r *request) (*exchange, []byte, error) {
	e, err := c.ask(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer e.close()
	body, err := e.read()
	var failed *Error
	if errors.As(err, &failed) {
		if !r.repeatable() {
			failed.class = fds.ErrUnknownOutcome
			return nil, nil, failed
		}
		return e, nil, nil // the status says that it was done
	}
	object, is := fds.ParseErrorObject(body)
	if done := object.Status/100 == 2 && classOf(object.Status, object.Message) == nil; is && !done {
		failed := e.refusal(body)
		if !r.repeatable() {
			failed.judgeOnce()
		}
		return nil, nil, failed
	}
	return e, body, nil
}

// read returns the answer's body, within the bound of an item.
func (e *exchange) read() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(e.response.Body, e.client.maxItem+1))
	if err != nil {
		return nil, e.broken(e.failure(), err, "the answer was cut short")
	}
	if int64(len(body)) > e.client.maxItem {
		return nil, e.unusable("it is larger than %d bytes; pull.Settings.MaxItemBytes sets the bound", e.client.maxItem)
	}
	return bytes.TrimSpace(body), nil
}

func (c *Client) contentOf(operation string, value any) ([]byte, error) {
	raw, asIs := value.(json.RawMessage) // json.Marshal would write it anew
	content, err := []byte(raw), error(nil)
	if !asIs {
		content, err = json.Marshal(value)
	}
	switch {
	case asIs && !(json.Valid(raw) && utf8.Valid(raw)):
		return nil, &Error{Operation: operation, class: fds.ErrQuery, detail: "what is to be sent is not valid JSON"}
	case err != nil:
		return nil, &Error{Operation: operation, class: fds.ErrQuery, detail: quoted(err.Error())}
	case int64(len(content)) > c.maxItem:
		return nil, &Error{Operation: operation, class: fds.ErrQuery, detail: fmt.Sprintf("what is to be sent is larger than %d bytes; pull.Settings.MaxItemBytes sets the bound", c.maxItem)}
	}
	return content, nil
}

// checkID refuses an ID that would make another path.
func checkID(operation, id string) error {
	switch {
	case id == "":
		return &Error{Operation: operation, class: fds.ErrQuery, detail: "the tag's ID is empty"}
	case id == "." || id == "..":
		return &Error{Operation: operation, class: fds.ErrQuery, detail: "the tag's ID is a step in a path"}
	case len(escape(id)) > maxURLBytes/2:
		return &Error{Operation: operation, class: fds.ErrQuery, detail: "the tag's ID is too long for a URL"}
	}
	return nil
}

// under returns the URL of steps below /fds/v2/.
func (c *Client) under(steps ...string) *url.URL {
	target := *c.base
	escaped := target.EscapedPath()
	target.Path += strings.Join(steps, "/")
	for i, step := range steps {
		steps[i] = url.PathEscape(step)
	}
	target.RawPath = escaped + path.Join(steps...)
	return &target
}
