package fdsclient

import (
	"bytes"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/loopback"
)

// page is what the user sees in the browser at the end of a sign-in. Nothing on
// it comes from the redirect.
var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto 0; padding: 0 1.5rem; color: #1b1f24; background: #fff }
h1 { font-size: 1.6rem; margin-bottom: .5rem }
@media (prefers-color-scheme: dark) { body { color: #e6e8eb; background: #15181c } }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
</main>
</body>
</html>
`))

// PageData is what Application.Page shows.
type PageData struct {
	Application string // Application.Name
	Title, Text string // what happened, in plain words
	SignedIn    bool
	Pending     bool // the sign-in goes on elsewhere
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
	if err := page.Execute(&b, data); err != nil {
		return loopback.Page{Status: http.StatusInternalServerError}
	}
	return loopback.Page{Status: status, HTML: b.Bytes()}
}

// closingPage says in plain words how the sign-in ended. It is shown after the
// grant was saved, so that "signed in" is true.
func (c *Client) closingPage(err error) loopback.Page {
	status, text := http.StatusBadGateway, "Something went wrong after you gave access, and nothing was stored. %s shows the details."
	switch {
	case err == nil:
		return c.render(http.StatusOK, PageData{SignedIn: true, Title: "Signed in", Text: "You are signed in to %s. You can close this window."})
	case errors.Is(err, fds.ErrAccessDenied):
		status, text = http.StatusOK, "Access was refused, so %s got none. You can close this window, or start the sign-in again."
	case errors.Is(err, fds.ErrIssuer):
		status, text = http.StatusBadRequest, "The answer came from another server than the one that was asked. Nothing was stored. Please tell the people who run %s."
	case errors.Is(err, fds.ErrNoSubscription), errors.Is(err, fds.ErrSubscriptionID):
		text = "The provider did not say which subscription this is for, so nothing was stored. %s shows the details."
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
