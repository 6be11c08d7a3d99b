package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/internal/browser"
	"github.com/fds-sdk/fds-go/internal/loopback"
)

// SignIn signs an owner's user in with a browser on this machine and returns the
// owners that the user let the application access. It waits on a loopback port
// for the redirect (RFC 8252 section 7.3), until ctx ends, whose error it then
// returns, or AttemptLifetime (15 minutes) has passed (fds.ErrAttemptExpired): give
// ctx a deadline that suits a person. Cancelling frees the port at once.
//
// The browser begins at a page of that port which works once and sends it a cookie
// that the redirect must bring back. Redirects that do not, or that do not belong
// to this sign-in, are refused, logged, and do not end it. That the page is opened
// a second time from elsewhere ends it with an error: another user of this machine
// may have been first. For the other errors see FinishSignIn; fds.ErrForeignRedirect
// is never among them.
func (c *Client) SignIn(ctx context.Context, options SignInOptions) ([]*Owner, error) {
	if options.ReadRedirect != nil && options.ShowURL == nil && options.OpenBrowser == nil {
		return nil, fmt.Errorf("fdsclient: sign-in: %w: SignInOptions.ReadRedirect needs ShowURL, or nobody learns where to sign in", fds.ErrConfig)
	}
	listener, err := loopback.Listen(ctx, c.cfg.Application.RedirectPorts, c.cfg.Application.RedirectPath)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: %w; close what uses them, or change Application.RedirectPorts", err)
	}
	defer listener.Close()
	attempt, err := c.beginAt(ctx, listener.RedirectURI(), options)
	if err != nil {
		return nil, err
	}
	c.warnOfSharedPath(ctx)
	ctx, cancel := context.WithDeadlineCause(ctx, attempt.Expires(), fmt.Errorf("%w: no redirect came in time; begin a new one", fds.ErrAttemptExpired))
	defer cancel()
	s := &pendingSignIn{client: c, attempt: attempt, pasted: options.ReadRedirect != nil, ignored: occurrences{log: c.log}}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	defer s.ignored.end()

	if err := s.show(options, listener.StartURL()); err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", err)
	}
	listening, pasted := context.WithCancelCause(ctx)
	defer pasted(nil)
	if options.ReadRedirect != nil {
		// Not waited for: reading from a terminal ends for no context.
		go s.readRedirects(listening, options.ReadRedirect, pasted)
	}
	err = listener.Serve(listening, loopback.Authorization{
		URL:        attempt.URL(),
		Lifetime:   time.Until(attempt.Expires()),
		Redirected: s.redirected,
		Refused:    s.refused,
	})
	return s.close(err)
}

// warnOfSharedPath tells once of a redirect path that other providers' redirects
// may have too, where this one's do not say whose they are.
func (c *Client) warnOfSharedPath(ctx context.Context) {
	own, issuer := c.cfg.Application.RedirectPath, c.cfg.Provider.Issuer
	if own == RedirectPath(issuer) {
		return
	}
	m, err := c.auth.Metadata(ctx)
	if err != nil || m.IssInResponse {
		return
	}
	c.sharedPath.Do(func() {
		c.log.Warn("the redirects of this provider cannot be told from another's", "error",
			fmt.Errorf("it does not promise to name itself in them (RFC 9207), and Application.RedirectPath is %q; register %q in its place and leave it out", own, RedirectPath(issuer)))
	})
}

// pendingSignIn is a sign-in that waits for its user.
type pendingSignIn struct {
	client  *Client
	attempt Attempt
	pasted  bool                    // the user has a browser elsewhere, or this one, and pastes the redirect
	ctx     context.Context         // of what is asked of the provider and the user
	cancel  context.CancelCauseFunc // ends ctx, and not the loopback, whose last page must be fetched
	ignored occurrences
	twice   atomic.Bool // the page was opened a second time from elsewhere

	judging sync.Mutex // the loopback's redirects and the pasted ones
	result  *signInResult
}

// signInResult is how a sign-in ended.
type signInResult struct {
	owners []*Owner
	err    error
}

// show has the user begin.
func (s *pendingSignIn) show(options SignInOptions, start string) error {
	c := s.client
	if options.ShowURL == nil {
		until, _ := s.ctx.Deadline()
		c.log.Info("a sign-in waits for its user in the browser", "until", until)
	} else {
		shown := start
		if s.pasted { // in a browser that may be elsewhere
			shown = s.attempt.URL()
		}
		if err := contain.Do(c.log, "SignInOptions.ShowURL", func() { options.ShowURL(shown) }); err != nil {
			return err
		}
	}
	if !s.pasted || options.OpenBrowser != nil {
		go s.open(options.OpenBrowser, start)
	}
	return nil
}

func (s *pendingSignIn) open(open func(context.Context, string) error, address string) {
	var err error
	if open == nil {
		err = browser.Open(s.ctx, address)
	} else if panicked := contain.Do(s.client.log, "SignInOptions.OpenBrowser", func() { err = open(s.ctx, address) }); panicked != nil {
		err = panicked
	}
	if err != nil && s.ctx.Err() == nil {
		s.client.log.Warn("the browser did not open", "error", fmt.Errorf("%w; open the sign-in's address by hand", err))
	}
}

// readRedirects judges what the user pastes until one ends the sign-in.
func (s *pendingSignIn) readRedirects(ctx context.Context, read func(context.Context) (string, error), end context.CancelCauseFunc) {
	why := errors.New("SignInOptions.ReadRedirect has ended its goroutine") // unless it returns
	defer func() { end(why) }()
	for ctx.Err() == nil {
		var redirect string
		var err error
		if panicked := contain.Do(s.client.log, "SignInOptions.ReadRedirect", func() { redirect, err = read(ctx) }); panicked != nil {
			err = panicked
		}
		if err != nil {
			why = err
			return
		}
		redirect = strings.TrimSpace(redirect)
		result, err := s.judge(redirect)
		if result != nil {
			break
		}
		s.client.log.Warn("ignored a redirect that does not belong to this sign-in", "error", err)
	}
	why = nil
}

// judge finishes the sign-in by a redirect, or says why it is another one's.
func (s *pendingSignIn) judge(redirect string) (*signInResult, error) {
	s.judging.Lock()
	defer s.judging.Unlock()
	if s.result != nil {
		return s.result, nil
	}
	owners, err := s.client.FinishSignIn(s.ctx, s.attempt, redirect)
	if errors.Is(err, fds.ErrForeignRedirect) {
		return nil, err
	}
	s.result = &signInResult{owners, err}
	return s.result, nil
}

// redirected answers a redirect from the browser that began.
func (s *pendingSignIn) redirected(redirect *url.URL) (loopback.Page, bool) {
	result, err := s.judge(redirect.String())
	switch {
	case result != nil && result.err == nil:
		return s.client.signedInPage(s.ctx, result.owners), true
	case result != nil:
		return s.client.closingPage(result.err), true
	}
	var nameless *authserver.StatelessDenial
	if errors.As(err, &nameless) {
		s.ignored.note("ignored that the provider refused: its redirect does not name the sign-in", err)
		return s.client.pending(namelessPage), false
	}
	s.ignored.note(ignoredRedirects, err)
	return s.client.pending(foreignPage), false
}

const ignoredRedirects = "ignored redirects that do not belong to this sign-in"

// refused answers what the loopback turned away.
func (s *pendingSignIn) refused(why error) loopback.Page {
	c := s.client
	switch {
	case errors.Is(why, loopback.ErrOpenedTwice):
		s.twice.Store(true)
		s.cancel(why) // no redirect of whoever was first is traded any more
		return c.closingPage(why)
	case errors.Is(why, loopback.ErrOtherUser):
		s.ignored.note("ignored another user", fmt.Errorf("%w; if it is the same person, a sign-in by SignInOptions.ReadRedirect needs no such page", why))
		return c.pending(otherUserPage)
	case errors.Is(why, loopback.ErrTooLarge):
		s.ignored.note("ignored a request", fmt.Errorf("%w; delete the cookies of 127.0.0.1 there", why))
		return c.pending(tooLargePage)
	}
	s.ignored.note(ignoredRedirects, why)
	if s.pasted {
		return c.pending(pastePage)
	}
	return c.pending(otherBrowserPage)
}

// close returns how the sign-in ended, once the loopback has.
func (s *pendingSignIn) close(served error) ([]*Owner, error) {
	s.judging.Lock()
	defer s.judging.Unlock()
	twice := s.twice.Load()
	switch ended := s.result; {
	case ended != nil && ended.err == nil && twice:
		s.client.log.Warn("signed in; but at the last moment the sign-in's page was opened a second time: sign the owners out if they are not the ones that were meant")
	case twice:
		s.result = &signInResult{err: fmt.Errorf("fdsclient: sign-in: %w; begin a new one", loopback.ErrOpenedTwice)}
	case ended == nil: // and what is pasted from now on comes too late
		s.result = &signInResult{err: fmt.Errorf("fdsclient: sign-in: %w", served)}
	}
	return s.result.owners, s.result.err
}
