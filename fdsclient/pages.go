package fdsclient

import (
	"bytes"
	"errors"
	"html/template"
	"net/http"

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

func (c *Client) render(status int, title, text string) loopback.Page {
	data := PageData{
		Application: c.cfg.Application.Name,
		Title:       title,
		Text:        text,
		SignedIn:    title == signedInTitle,
		Pending:     title == pendingTitle,
	}
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

const (
	signedInTitle = "Signed in"
	pendingTitle  = "Nothing to do here"
)

// closingPage says in plain words how the sign-in ended. It is shown after the
// grant was saved, so that "signed in" is true.
func (c *Client) closingPage(err error) loopback.Page {
	const failed = "Not signed in"
	application, render := c.cfg.Application.Name, c.render
	switch {
	case err == nil:
		return render(http.StatusOK, signedInTitle, "You are signed in to "+application+". You can close this window.")
	case errors.Is(err, ErrDenied):
		return render(http.StatusOK, failed, "Access was refused, so "+application+" got none. You can close this window, or start the sign-in again.")
	case errors.Is(err, ErrIssuer):
		return render(http.StatusBadRequest, failed, "The answer came from another server than the one that was asked. Nothing was stored. Please tell the people who run "+application+".")
	case errors.Is(err, ErrNoSubscription), errors.Is(err, fds.ErrSubscriptionID):
		return render(http.StatusBadGateway, failed, "The provider did not say which subscription this is for, so nothing was stored. "+application+" shows the details.")
	case errors.Is(err, ErrAttemptExpired), errors.Is(err, ErrAttemptUsed):
		return render(http.StatusBadRequest, failed, "This sign-in took too long or was done already. Please start it again in "+application+".")
	}
	return render(http.StatusBadGateway, failed, "Something went wrong after you gave access, and nothing was stored. "+application+" shows the details.")
}

func (c *Client) foreignPage() loopback.Page {
	return c.render(http.StatusBadRequest, pendingTitle, "This address does not belong to the sign-in that is under way. The sign-in goes on; use the window that it opened.")
}
