package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// restOfBody is how long a sender that was refused has for what it began to send.
const restOfBody = time.Second

// pathSubscription is the name in the pattern of a path that names an owner.
const pathSubscription = "subscription_id"

// ServeHTTP takes a delivery; see the package's documentation.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.serve(w, req, r.deliver) }

// serve answers a request, tells of the answer and counts it.
func (r *Receiver) serve(w http.ResponseWriter, req *http.Request, deliver func(http.ResponseWriter, *http.Request, *Answer) error) {
	began := time.Now()
	a := Answer{Status: http.StatusOK}
	if a.Err = deliver(w, req, &a); a.Err == nil {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
	} else {
		var refused *refusal
		if !errors.As(a.Err, &refused) {
			refused = &refusal{status: http.StatusServiceUnavailable}
		}
		a.Status = refused.status
		// What is left of the body net/http reads, so that the connection serves on: not for long.
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(restOfBody))
		if req.ProtoMajor > 1 { // nor for one who does not read; before that the answer fits into the system's memory
			_ = control.SetWriteDeadline(time.Now().Add(headerTimeout))
		}
		refused.write(w, r.viaProxy(req))
	}
	a.Took = time.Since(began)
	r.answered(a, req.RemoteAddr)
}

// deliver does all that a delivery needs, in the order in which least is done for whoever has no
// business here. It notes in a what it learns.
func (r *Receiver) deliver(w http.ResponseWriter, req *http.Request, a *Answer) error {
	viaProxy := r.viaProxy(req)
	if err := r.encrypted(req, viaProxy); err != nil {
		return err
	}
	if req.Method != http.MethodPost {
		return malformed(http.StatusMethodNotAllowed, "the request is no POST")
	}
	token, err := bearer(req)
	if err != nil {
		return err
	}
	known, err := r.trusted(req.Context(), token)
	if err != nil {
		return err
	}
	if err := r.possessed(req, viaProxy, known); err != nil {
		return err
	}
	id, named, err := candidate(req, known)
	if err != nil {
		return err
	}
	if named {
		if a.Owner, err = r.owner(req.Context(), id); err != nil {
			return err
		}
	}
	if err := r.acceptable(req); err != nil {
		return err
	}
	webhookID, err := deliveryID(req.Header)
	if err != nil {
		return err
	}
	a.Bytes = int(req.ContentLength)
	leave, err := r.enter(a.Bytes)
	if err != nil {
		return err
	}
	work := &handing{receiver: r, sender: known.client, id: webhookID, leave: []func(){leave}}
	defer work.abandon()
	if named { // before the body is read: one owner's may all be slow
		if err := work.enter(a.Owner); err != nil {
			return err
		}
	}
	body, err := r.body(w, req)
	if err != nil {
		return err
	}
	items, err := r.parse(body)
	if err != nil {
		return err
	}
	if !named {
		if id, err = r.firstNamed(items, known); err != nil {
			return err
		}
		if a.Owner, err = r.owner(req.Context(), id); err != nil {
			return err
		}
		if err := work.enter(a.Owner); err != nil {
			return err
		}
	}
	if err := r.signed(req.Context(), req.Header, a.Owner, webhookID, body); err != nil {
		return err
	}
	if err := r.ofOne(items, id, !named); err != nil {
		return err
	}
	a.Messages, a.Suppressed, err = work.handOver(req.Context(), items)
	return err
}

// bearer returns the token of a request's header (RFC 6750 section 2.1), and refuses it anywhere
// else (W9, RFC 9700 section 4.3.2).
func bearer(req *http.Request) (string, error) {
	for pair := range strings.FieldsFuncSeq(req.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		if name, _, _ := strings.Cut(pair, "="); strings.EqualFold(unescaped(name), "access_token") {
			return "", &refusal{status: http.StatusBadRequest, why: "the token stands in the query, where logs and proxies keep it (W9)"}
		}
	}
	values := req.Header.Values("Authorization")
	switch len(values) {
	case 0:
		return "", &refusal{status: http.StatusUnauthorized, why: "there is no access token in the header Authorization"}
	case 1:
	default:
		return "", malformed(http.StatusBadRequest, "the header Authorization is there more than once")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", &refusal{status: http.StatusUnauthorized, why: "the header Authorization has no bearer token (RFC 6750)"}
	case token == "", len(token) > maxToken, strings.TrimLeft(token, tokenLetters) != "":
		return "", untrusted("it is empty, too long, or holds what no token does (RFC 6750 section 2.1)")
	}
	return token, nil
}

// tokenLetters are all that a token is made of.
const tokenLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/="

// candidate returns the owner of a delivery as far as the token and the path say; false: the
// payload has to.
func candidate(req *http.Request, known *claims) (id fds.SubscriptionID, ok bool, err error) {
	if spelling := req.PathValue(pathSubscription); spelling != "" {
		id, err := fds.ParseSubscriptionID(spelling)
		if err != nil {
			return id, false, forbidden("the path names an owner by what is no subscription ID (W6)")
		}
		if !slices.Contains(known.owners, id) {
			return id, false, forbidden("the path names an owner whom the token does not")
		}
		return id, true, nil
	}
	if len(known.owners) == 1 {
		return known.owners[0], true, nil
	}
	return id, false, nil
}

// owner returns the owner of an ID who is one of this application, signed in.
func (r *Receiver) owner(ctx context.Context, id fds.SubscriptionID) (fds.OwnerKey, error) {
	ctx, end := context.WithTimeout(ctx, r.cfg.HandlerTimeout)
	defer end()
	key, err := contained("Config.Owner", func() (fds.OwnerKey, error) { return r.cfg.Owner(ctx, id) })
	switch {
	case errors.Is(err, fds.ErrNoOwner), errors.Is(err, fds.ErrSignInRequired):
		return fds.OwnerKey{}, &refusal{status: http.StatusForbidden, why: "the token's owner is not signed in here", class: fds.ErrOwner, cause: err}
	case err != nil:
		return fds.OwnerKey{}, &refusal{status: http.StatusServiceUnavailable, why: "whether the token's owner is signed in cannot be told", class: fds.ErrUnavailable, cause: err}
	case key.SubscriptionID != id:
		return fds.OwnerKey{}, forbidden("Config.Owner returned another owner than the token's")
	}
	return key, nil
}

// acceptable refuses a body that is not to be read.
func (r *Receiver) acceptable(req *http.Request) error {
	switch length := req.ContentLength; {
	case length < 0:
		return malformed(http.StatusLengthRequired, "the request does not say how long it is")
	case length > int64(r.cfg.MaxBody):
		return malformed(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has %d bytes; Settings.MaxBody is %d", length, r.cfg.MaxBody))
	case slices.ContainsFunc(req.Header.Values("Content-Encoding"), func(c string) bool { return !strings.EqualFold(c, "identity") }):
		return malformed(http.StatusUnsupportedMediaType, "the body is compressed")
	}
	kind, parameters, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !(strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")) {
		return malformed(http.StatusUnsupportedMediaType, "the body is not application/json")
	}
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return malformed(http.StatusUnsupportedMediaType, "the body is not in UTF-8")
	}
	return nil
}

// body reads a body, which must come within BodyTimeout.
func (r *Receiver) body(w http.ResponseWriter, req *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	settable := control.SetReadDeadline(time.Now().Add(r.cfg.BodyTimeout)) == nil
	body := make([]byte, req.ContentLength)
	read := func() error {
		_, err := io.ReadFull(req.Body, body)
		return err
	}
	var err error
	if settable {
		if err = read(); err == nil {
			_ = control.SetReadDeadline(time.Time{})
		}
	} else { // a server that has no deadlines: the read ends when the request does
		done := make(chan error, 1)
		go func() { done <- read() }()
		timer := time.NewTimer(r.cfg.BodyTimeout)
		defer timer.Stop()
		select {
		case err = <-done:
		case <-timer.C:
			return nil, malformed(http.StatusRequestTimeout, "the body did not arrive within Settings.BodyTimeout")
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, malformed(http.StatusRequestTimeout, "the body did not arrive within Settings.BodyTimeout")
	case err != nil:
		return nil, malformed(http.StatusBadRequest, "the body ended before its length")
	}
	return body, nil
}
