package pull

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
)

// What follows decides whose an item is. It rests on what the dialect knows, a
// parameter of requests or a member of items, and without both on whether anybody else
// has the credentials.

var (
	// errNobody is of an item that names nobody, where that could be another owner's.
	errNobody = fmt.Errorf("%w: it names no owner, and the access token is that of several; without fds.Dialect.SubscriptionParameter every item needs the member that fds.Dialect.SubscriptionMember names", fds.ErrOwner)
	// errOthers is of an item that belongs to another owner.
	errOthers = errors.New("an item of another owner")
)

const (
	cannotTell   = "the access token is that of several owners, and nothing says whose an item is; set fds.Dialect.SubscriptionMember or fds.Dialect.SubscriptionParameter to the provider's name for it"
	cannotChange = "the access token is that of several owners, and nothing says for whom this is; set fds.Dialect.SubscriptionParameter to the provider's name for it"
)

// owned reports whether the items of a collection belong to owners, of whom one is
// wanted.
func (c *Client) owned(kind Kind) bool {
	return c.root != (fds.Root{}) && kind != EventSpecifications
}

// ownerParameter is the query parameter that names the owner, or "".
func (c *Client) ownerParameter(kind Kind) string {
	if !c.owned(kind) {
		return ""
	}
	return c.dialect.SubscriptionParameter
}

// forOwner returns the URL with the parameter that names the owner, once: what leads to a
// next page or elsewhere may have left it out.
func (c *Client) forOwner(kind Kind, at *url.URL) *url.URL {
	name := c.ownerParameter(kind)
	if name == "" {
		return at
	}
	if values, err := url.ParseQuery(at.RawQuery); err == nil && len(values[name]) == 1 && values.Get(name) == c.root.ClientID() {
		return at // as it was written, which may be signed
	}
	return with(at, name, c.root.ClientID())
}

// certain reports whether the request itself says whose data it is about.
func (r *request) certain(c *Client) bool {
	return !c.owned(r.kind) || c.dialect.SubscriptionParameter != "" || r.names
}

// askShared notes whether the credentials are those of several owners. It is asked before
// and after they were taken: whoever joins or leaves in between counts.
func (e *exchange) askShared(ctx context.Context) error {
	c := e.client
	if c.shared == nil || e.certain(c) {
		return nil
	}
	shared, err := c.shared(ctx)
	if err != nil {
		return err
	}
	e.shared = e.shared || shared
	failed := &Error{Operation: e.operation, Path: e.path, class: fds.ErrOwner}
	switch {
	case !e.shared:
	case !e.reads():
		failed.detail = cannotChange
		if member := c.dialect.SubscriptionMember; e.content != nil && member != "" {
			failed.detail += fmt.Sprintf(", or name the owner in the member %q of what is sent", cut(member))
		}
		return failed
	case c.dialect.SubscriptionMember == "":
		failed.detail = cannotTell
		return failed
	}
	return nil
}

// judge returns nil for an item of the owner, errOthers for another's, and errNobody where
// nobody can tell. Shared: the item came with credentials of several owners, and without
// the parameter.
func (c *Client) judge(kind Kind, item fds.Item, shared bool) error {
	if !c.owned(kind) {
		return nil
	}
	id, named := c.dialect.Subscription(item)
	switch {
	case named && id != c.root.SubscriptionID():
		return errOthers
	case !named && shared:
		return errNobody
	}
	return nil
}

// checkBody judges what is to be written as what was read is judged; names: it says that
// it is the owner's.
func (c *Client) checkBody(operation string, content []byte) (names bool, err error) {
	if !c.owned(tags) {
		return false, nil
	}
	item, err := fds.ParseItem(content)
	if err != nil { // it has no members
		return false, nil
	}
	id, named := c.dialect.Subscription(item)
	if named && id != c.root.SubscriptionID() {
		return false, &Error{Operation: operation, class: fds.ErrOwner, detail: fmt.Sprintf("what is to be sent names another one in its member %q", cut(c.dialect.SubscriptionMember))}
	}
	return named, nil
}

// with returns the URL with one query parameter set to another value.
func with(at *url.URL, name, value string) *url.URL {
	next := *at
	var kept []string
	for part := range strings.SplitSeq(at.RawQuery, "&") {
		written, _, _ := strings.Cut(part, "=")
		if read, err := url.QueryUnescape(written); part != "" && (err != nil || read != name) {
			kept = append(kept, part)
		}
	}
	next.RawQuery = strings.Join(append(kept, escape(name)+"="+escape(value)), "&")
	return &next
}
