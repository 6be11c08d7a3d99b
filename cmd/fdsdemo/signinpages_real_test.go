package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"image"
	_ "image/png"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// The page on which a person decides and the one that comes after it are made by two rooms, of
// which neither may import the other, and look alike.
func TestBothPagesOfASignInHaveOneDesign(t *testing.T) {
	t.Parallel()
	var sheets [2][]byte
	for i, path := range []string{"fdsclient/style.css", "fdstest/internal/authority/style.css"} {
		sheet, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		sheets[i] = sheet
	}
	if !bytes.Equal(sheets[0], sheets[1]) {
		t.Error("fdsclient/style.css and fdstest/internal/authority/style.css differ: change one, then copy it to the other")
	}
}

// visitor looks at pages as people do.
type visitor struct {
	*realtest.Browser
	t    *testing.T
	seen int
}

func newVisitor(s *setup) *visitor {
	s.t.Helper()
	issuer, err := url.Parse(s.box.Issuer())
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := tls.Dial("tcp", issuer.Host, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.box.RootCAs()})
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	return &visitor{Browser: realtest.NewBrowser(s.t, realtest.ChromiumOptions{Trusted: []*x509.Certificate{leaf}}), t: s.t}
}

var views = map[string]realtest.View{
	"narrow":      {Width: 320, Height: 568},
	"phone-light": {Width: 390, Height: 844}, "phone-dark": {Width: 390, Height: 844, Dark: true},
	"desktop-light": {Width: 1280, Height: 800}, "desktop-dark": {Width: 1280, Height: 800, Dark: true},
}

// look checks the page that is shown, in each view. FDS_PAGES names a folder for pictures of it.
func (v *visitor) look(name string) {
	v.t.Helper()
	backgrounds := map[string]bool{}
	for view, seen := range views {
		v.See(seen)
		for _, barrier := range v.Barriers() {
			v.t.Errorf("%s, %s: %s", name, view, barrier)
		}
		var found struct {
			Lang, Background string
			Wide             int
			Foreign, Dim     []string
		}
		v.Run(`({
			lang: document.documentElement.lang,
			background: getComputedStyle(document.querySelector('main')).backgroundColor,
			wide: document.documentElement.scrollWidth - innerWidth,
			foreign: [...document.querySelectorAll('script')].map(e => e.outerHTML).concat(
				performance.getEntriesByType('resource').map(e => e.name).filter(n => new URL(n).origin !== location.origin)),
			dim: [...document.querySelectorAll('a, button, input:not([type=hidden])')].filter(e => {
				e.focus({focusVisible: true});
				const style = getComputedStyle(e);
				return style.outlineStyle !== 'solid' || parseFloat(style.outlineWidth) < 2;
			}).map(e => e.outerHTML),
		})`, &found)
		v.Run("document.activeElement.blur()", nil)
		backgrounds[fmt.Sprint(seen.Dark, found.Background)] = true
		if found.Lang != "en" || found.Wide > 0 || len(found.Foreign) > 0 || len(found.Dim) > 0 {
			v.t.Errorf("%s, %s: %+v", name, view, found)
		}
		shot := v.Screenshot()
		if shown, _, err := image.DecodeConfig(bytes.NewReader(shot)); err != nil || shown.Width != seen.Width {
			v.t.Errorf("%s, %s: the picture is %d wide, %v", name, view, shown.Width, err)
		}
		if folder := os.Getenv("FDS_PAGES"); folder != "" {
			if err := os.WriteFile(filepath.Join(folder, name+"-"+view+".png"), shot, 0o600); err != nil {
				v.t.Error(err)
			}
		}
	}
	if len(backgrounds) != 2 || backgrounds["falsergb(255, 255, 255)"] == false || backgrounds["truergb(255, 255, 255)"] {
		v.t.Errorf("%s: the backgrounds are %v", name, backgrounds)
	}
	v.seen++
}

func (v *visitor) says(parts ...string) {
	v.t.Helper()
	var text string
	v.Run("document.querySelector('main').innerText", &text)
	for _, part := range parts {
		if !strings.Contains(text, part) {
			v.t.Errorf("the page does not say %q:\n%s", part, text)
		}
	}
}

func (v *visitor) title(begins string) {
	v.t.Helper()
	v.Await(fmt.Sprintf("document.readyState === 'complete' && document.title.startsWith(%q)", begins))
}

func (v *visitor) click(selector string) {
	v.t.Helper()
	v.Run(fmt.Sprintf("document.querySelector(%q).click()", selector), nil)
}

const (
	approves = "button[value=approve]"
	denies   = "button[value=deny]"
)

func TestThePagesOfASignInAreForEveryone(t *testing.T) {
	s := newSetupWith(t, fdstest.Options{DeviceGrant: true})
	v := newVisitor(s)

	p := s.start("login", "--no-browser")
	v.Open(p.signInURL())
	v.title("Allow access?")
	v.look("consent")
	v.click(approves)
	v.Await("document.querySelector('[role=alert]')")
	v.look("consent-nobody-chosen")
	v.click("input[value='" + s.north.Spelling + "']")
	v.click(approves)
	v.title("Signed in")
	v.says("Signed in", "fdsdemo may read this owner’s data", north.Spelling, strings.TrimPrefix(s.box.Issuer(), "https://"),
		"openid offline_access", "Until it is withdrawn; fdsdemo renews it by itself.")
	v.look("signed-in")
	p.wait().expect(statusDone)

	p = s.start("login", "--no-browser")
	v.Open(p.signInURL())
	v.title("Allow access?")
	v.Run("document.querySelectorAll('input[name=owner]').forEach(e => e.click())", nil)
	v.click(approves)
	v.title("Signed in")
	v.says("2 owners", north.Spelling, strings.ToLower(south.Spelling))
	v.look("signed-in-for-two")
	p.wait().expect(statusDone)

	p = s.start("login", "--no-browser")
	v.Open(p.signInURL())
	v.title("Allow access?")
	v.click(denies)
	v.title("Not signed in")
	v.says("Access was refused, so fdsdemo got none.", "start the sign-in again")
	v.look("denied")
	p.wait().expect(statusFailed)

	p = s.start("login", "--no-browser")
	begin, err := url.Parse(p.signInURL())
	if err != nil {
		t.Fatal(err)
	}
	v.Open(begin.String())
	v.title("Allow access?")
	v.Open("http://" + begin.Host + fdsclient.RedirectPath(s.box.Issuer()) + "?state=another&error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E")
	v.title("Nothing to do here")
	v.look("foreign-redirect")
	off := s.box.Inject(fdstest.Answer(fdstest.TokenEndpoint, 400, "application/json", `{"error":"invalid_grant"}`))
	v.Open(begin.String())
	v.title("Allow access?")
	v.click("input[value='" + s.north.Spelling + "']")
	v.click(approves)
	v.title("Not signed in")
	v.says("nothing was stored", "start the sign-in again")
	v.look("failed")
	off()
	p.wait()

	v.Open(s.box.Issuer() + "/authorize?client_id=nobody")
	v.title("Sign-in is not possible")
	v.look("refused-request")

	s.devices(v)
	if v.seen != 12 {
		t.Errorf("%d pages were looked at", v.seen)
	}
}

// devices looks at the pages of the device grant.
func (s *setup) devices(v *visitor) {
	s.t.Helper()
	for _, decision := range []string{approves, denies} {
		p := s.start("login", "--device")
		_, address, _ := strings.Cut(p.await(p.err, "https://"), "https://")
		address, _, _ = strings.Cut("https://"+address, " ")
		code := strings.TrimPrefix(p.await(p.err, "Enter this code there: "), "Enter this code there: ")
		v.Open(address)
		v.title("Connect a device")
		if decision == approves {
			v.look("device")
			v.Run("document.querySelector('[name=user_code]').value = 'NONE'", nil)
			v.click("button")
			v.Await("document.querySelector('[role=alert]')")
			v.look("device-wrong-code")
		}
		v.Run(fmt.Sprintf("document.querySelector('[name=user_code]').value = %q", code), nil)
		v.click("button")
		v.title("Allow access?")
		v.click("input[value='" + s.north.Spelling + "']")
		v.click(decision)
		v.title("The device is")
		v.look("device" + map[string]string{approves: "-connected", denies: "-refused"}[decision])
		p.wait()
	}
}
