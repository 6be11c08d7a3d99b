package fdsclient

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/loopback"
)

var (
	//go:embed signinpage.html
	pageSource string
	//go:embed style.css
	pageStyle string

	// page is what the user sees in the browser at the end of a sign-in. Nothing on
	// it comes from the redirect.
	page = template.Must(template.New("page").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(pageStyle) },
		"shown": func(owners []fds.SubscriptionID) []fds.SubscriptionID { return owners[:min(len(owners), maxShown)] },
		"more":  func(owners []fds.SubscriptionID) int { return max(0, len(owners)-maxShown) },
		"join":  func(scopes []string) string { return strings.Join(scopes, " ") },
	}).Parse(pageSource))
)

// maxShown bounds the owners whom the page names.
const maxShown = 5

// PageData is what Application.Page shows.
type PageData struct {
	Application string // Application.Name
	Title, Text string // what happened, in plain words
	SignedIn    bool
	Pending     bool      // the sign-in goes on elsewhere
	Grant       GrantInfo // who has signed in, and what was granted; only with SignedIn
}

// plainPage is what the page of ours shows.
type plainPage struct {
	PageData
	Provider string // the issuer
	Lasts    string // how long the access does
}

// render makes a page of what happened, in whose text %s stands for the application.
func (c *Client) render(status int, data PageData) loopback.Page {
	data.Application = c.cfg.Application.Name
	data.Text = strings.ReplaceAll(data.Text, "%s", data.Application)
	var b bytes.Buffer
	if own := c.cfg.Application.Page; own != nil {
		err := own.Execute(&b, data)
		if err == nil {
			return loopback.Page{Status: status, HTML: b.Bytes()}
		}
		c.log.Warn("Application.Page cannot be shown; the plain page is", "error", err)
		b.Reset()
	}
	plain := plainPage{PageData: data, Provider: strings.TrimPrefix(c.cfg.Provider.Issuer, "https://")}
	switch grant := data.Grant; {
	case grant.Renewable:
		plain.Lasts = "Until it is withdrawn; " + data.Application + " renews it by itself."
	case !grant.AccessExpiry.IsZero():
		plain.Lasts = "Until " + grant.AccessExpiry.UTC().Format("2 January 2006, 15:04 UTC") + "; then sign in again."
	}
	if err := page.Execute(&b, plain); err != nil {
		return loopback.Page{Status: http.StatusInternalServerError}
	}
	return loopback.Page{Status: status, HTML: b.Bytes(), Style: pageStyle}
}

// signedInPage says who has signed in, and what was granted.
func (c *Client) signedInPage(ctx context.Context, owners []*Owner) loopback.Page {
	grant, err := owners[0].Grant(ctx)
	if err != nil { // it was saved a moment ago: the next who reads it is told
		for _, owner := range owners {
			grant.Owners = append(grant.Owners, owner.Key().SubscriptionID)
		}
	}
	return c.render(http.StatusOK, PageData{SignedIn: true, Grant: grant, Title: "Signed in", Text: "You are signed in to %s. You can close this window."})
}

// closingPage says in plain words why the sign-in failed, and what to do next.
func (c *Client) closingPage(err error) loopback.Page {
	status, text := http.StatusBadGateway, "Something went wrong after you gave access, and nothing was stored. %s says what it was and what to do; then start the sign-in again there."
	switch {
	case errors.Is(err, fds.ErrAccessDenied):
		status, text = http.StatusOK, "Access was refused, so %s got none. You can close this window, or start the sign-in again."
	case errors.Is(err, fds.ErrIssuer):
		status, text = http.StatusBadRequest, "The answer came from another server than the one that was asked. Nothing was stored. Please do not try again before you have told the people who run %s."
	case errors.Is(err, fds.ErrNoSubscription), errors.Is(err, fds.ErrSubscriptionID):
		text = "The provider did not say which subscription this is for, so nothing was stored. Please tell the people who run %s, which shows the details."
	case errors.Is(err, fds.ErrAttemptExpired), errors.Is(err, fds.ErrAttemptUsed):
		status, text = http.StatusBadRequest, "This sign-in took too long or was done already. Please start it again in %s."
	case errors.Is(err, loopback.ErrOpenedTwice): // in a browser that cannot be told from a thief's
		status, text = http.StatusForbidden, "This page was opened before, in another browser or by another program or user of this machine. "+
			"To be safe the sign-in was ended. Please start it again in %s, and open its page only once."
	}
	return c.render(status, PageData{Title: "Not signed in", Text: text})
}

// pendingPage is what is shown while the sign-in goes on.
type pendingPage struct {
	status      int
	title, text string
}

var (
	foreignPage = pendingPage{http.StatusBadRequest, "Nothing to do here", "This address does not belong to the sign-in that is under way. The sign-in goes on; use the window that it opened."}

	otherBrowserPage = pendingPage{http.StatusBadRequest, "Nothing to do here", "This is not the browser in which the sign-in began, or it keeps no cookies of this machine. The sign-in goes on; use the window that it opened. " +
		"If this is that window, let the browser keep cookies of 127.0.0.1 and start the sign-in again in %s."}

	pastePage = pendingPage{http.StatusOK, "One step is left", "Copy the address of this page from the browser's address bar and paste it where %s asks for it."}

	namelessPage = pendingPage{http.StatusBadRequest, "Access was refused", "The provider's answer does not say for which sign-in, so that %s goes on waiting. You can stop it there, or go on in the provider's window."}

	otherUserPage = pendingPage{http.StatusForbidden, "This page is another user's", "A sign-in to %s was begun by another user of this machine, and only their browser can go on with it. " +
		"If that was you, begin it again in a way that does not need this page: by pasting an address."}

	tooLargePage = pendingPage{http.StatusRequestHeaderFieldsTooLarge, "Too many cookies", "Other programs of this machine have left so many cookies in this browser that this page cannot be used. " +
		"Delete the cookies of 127.0.0.1 in the browser's settings and load this page again."}
)

func (c *Client) pending(p pendingPage) loopback.Page {
	return c.render(p.status, PageData{Pending: true, Title: p.title, Text: p.text})
}
