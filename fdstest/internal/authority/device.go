package authority

import (
	"crypto/rand"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	defaultDeviceInterval = 5 * time.Second        // RFC 8628 section 3.2
	slowDownBy            = 5 * time.Second        // section 3.5
	userCodeLetters       = "BCDFGHJKLMNPQRSTVWXZ" // section 6.1: no vowels, so no words
	userCodeLength        = 8                      // 34 bits
	deviceRemembered      = time.Hour              // after its end, so that expired_token can be said
	maxPollSlack          = 250 * time.Millisecond // for a poll that the network brought early
)

// deviceCode is a device's request for a grant (RFC 8628). What changes is under
// the server's mutex.
type deviceCode struct {
	request  authorizationRequest
	userCode string // letters only
	begun    time.Time
	expires  time.Time
	forget   time.Time

	interval time.Duration // that the device must keep between polls
	polled   time.Time     // the last time
	denied   bool
	grant    *grant // once approved
	used     bool
}

// serveDeviceAuthorization is the device authorization endpoint (RFC 8628
// section 3.1).
func (s *Server) serveDeviceAuthorization(w http.ResponseWriter, r *http.Request) {
	answer, failure := s.beginDevice(r)
	if failure != nil {
		s.log.Info("device authorization refused", "error", failure.code, "description", failure.description)
		failure.write(w)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) beginDevice(r *http.Request) (map[string]any, *protocolError) {
	client, form, failure := s.clientRequest(r)
	if failure != nil {
		return nil, failure
	}
	req := authorizationRequest{client: client, scope: knownScopes(form, true)}
	if req.resources, failure = s.requestedResources(form); failure != nil {
		return nil, failure
	}
	code, now := newSecret(), time.Now()
	device := &deviceCode{
		request: req, begun: now, expires: now.Add(s.cfg.DeviceCodeLifetime), forget: now.Add(s.cfg.DeviceCodeLifetime + deviceRemembered),
		interval: s.cfg.DeviceInterval,
	}
	if device.interval < 0 {
		device.interval = defaultDeviceInterval
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	for device.userCode == "" || s.deviceOf(device.userCode) != nil {
		device.userCode = newUserCode()
	}
	makeRoom(s.devices, func(d *deviceCode) time.Time { return d.begun })
	s.devices[digestOf(code)] = device
	shown := device.userCode[:userCodeLength/2] + "-" + device.userCode[userCodeLength/2:]
	s.secrets.add(code, shown, device.userCode)
	s.log.Info("device authorization begun", "client", client.ID)
	answer := map[string]any{
		"device_code":               code,
		"user_code":                 shown,
		"verification_uri":          s.issuer + DevicePath,
		"verification_uri_complete": s.issuer + DevicePath + "?" + url.Values{"user_code": {shown}}.Encode(),
		"expires_in":                wholeSecondsOf(s.cfg.DeviceCodeLifetime),
	}
	if s.cfg.DeviceInterval > 0 {
		answer["interval"] = wholeSecondsOf(s.cfg.DeviceInterval)
	}
	return answer, nil
}

func newUserCode() string {
	var code strings.Builder
	for range userCodeLength {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(userCodeLetters))))
		if err != nil {
			panic("authority: no random numbers: " + err.Error()) // crypto/rand never fails
		}
		code.WriteByte(userCodeLetters[n.Int64()])
	}
	return code.String()
}

// deviceOf finds who waits under a user code. The caller holds the mutex.
func (s *Server) deviceOf(userCode string) *deviceCode {
	for _, d := range s.devices {
		if d.userCode == userCode {
			return d
		}
	}
	return nil
}

// pollDevice answers a device access token request (RFC 8628 section 3.4).
func (s *Server) pollDevice(req tokenRequest) (map[string]any, *protocolError) {
	if req.form.get("device_code") == "" {
		return nil, invalidRequest("device_code is missing")
	}
	g, audience, failure := s.takeDevice(req)
	if failure != nil {
		return nil, failure
	}
	refresh := ""
	if g.has("offline_access") {
		refresh = s.newRefreshToken(g, req.refreshBinding(), req.now)
	}
	return s.issue(issuance{
		grantType: GrantDeviceCode, grant: g, scope: strings.Join(g.scope, " "), audience: audience, bound: req.bound, refresh: refresh,
	}, req.now)
}

func (s *Server) takeDevice(req tokenRequest) (*grant, []string, *protocolError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(req.now)
	device, known := s.devices[digestOf(req.form.get("device_code"))]
	if !known || device.request.client.ID != req.client.ID {
		return nil, nil, invalidGrant("the device code is unknown, or another client's")
	}
	early := !device.polled.IsZero() && req.now.Sub(device.polled) < device.interval-min(device.interval/10, maxPollSlack)
	device.polled = req.now
	switch {
	case device.used:
		return nil, nil, invalidGrant("the device code was used before")
	case device.denied:
		return nil, nil, refusal("access_denied", "the person did not approve")
	case !req.now.Before(device.expires):
		return nil, nil, refusal("expired_token", "the device code has expired; begin anew")
	case early:
		device.interval += slowDownBy
		return nil, nil, refusal("slow_down", "the device polls too fast; it must wait 5 seconds longer from now on, that is "+device.interval.String())
	case device.grant == nil:
		return nil, nil, refusal("authorization_pending", "the person has not decided yet")
	case device.grant.revoked:
		return nil, nil, invalidGrant("the grant was revoked: " + device.grant.revokedBy)
	}
	audience, failure := s.audienceOf(device.grant, req.form)
	device.used = failure == nil
	return device.grant, audience, failure
}

// devicePage is where a person enters a user code.
type devicePage struct{ Action, UserCode, Problem string }

// donePage is what is shown once the person has decided.
type donePage struct {
	Title    string
	Approved bool
}

// serveDevicePage shows the form for a user code (RFC 8628 section 3.3). A code
// that came with the URL is filled in, and the person confirms it (section
// 3.3.1).
func (s *Server) serveDevicePage(w http.ResponseWriter, r *http.Request) {
	code := r.URL.Query().Get("user_code")
	s.page(w, http.StatusOK, "device", "'self'", devicePage{Action: DevicePath, UserCode: code[:min(len(code), 32)]})
}

// serveUserCode takes a user code and asks for the person's decision.
func (s *Server) serveUserCode(w http.ResponseWriter, r *http.Request) {
	if err := s.origin.Check(r); err != nil {
		s.pageError(w, http.StatusForbidden, "The form was sent by another site.")
		return
	}
	form, failure := readForm(r)
	if failure != nil {
		s.pageError(w, failure.status, failure.description)
		return
	}
	given := form.get("user_code")
	s.mu.Lock()
	device := s.deviceOf(lettersOf(given))
	waiting := device != nil && device.grant == nil && !device.denied && time.Now().Before(device.expires)
	s.mu.Unlock()
	if !waiting {
		s.page(w, http.StatusUnprocessableEntity, "device", "'self'",
			devicePage{DevicePath, given[:min(len(given), 32)], "No device waits under this code, or it has waited too long."})
		return
	}
	s.askPerson(w, r, pendingRequest{request: device.request, device: device})
}

// lettersOf reads a code as people type it: in any case, with or without the
// hyphen (section 6.1).
func lettersOf(typed string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(userCodeLetters, c) {
			return c
		}
		return -1
	}, strings.ToUpper(typed))
}

// decideDevice takes the person's decision. Of several at once the first counts.
func (s *Server) decideDevice(w http.ResponseWriter, device *deviceCode, approved bool, owners []string) {
	now := time.Now()
	s.mu.Lock()
	decided := device.grant != nil || device.denied || !now.Before(device.expires)
	switch {
	case decided:
	case approved:
		device.grant = s.newGrant(device.request, owners, now)
	default:
		device.denied = true
	}
	s.mu.Unlock()
	if decided {
		s.pageError(w, http.StatusBadRequest, "This was decided before, or the device has waited too long.")
		return
	}
	s.log.Info("device decided", "client", device.request.client.ID, "approved", approved, "subscriptions", owners)
	page := donePage{"The device is connected", approved}
	if !approved {
		page.Title = "The device is not connected"
	}
	s.page(w, http.StatusOK, "done", "'none'", page)
}

// knownScopes are those of a request that this server knows. offline means that
// offline_access may be among them.
func knownScopes(p parameters, offline bool) []string {
	var scope []string
	for _, name := range strings.Fields(p.get("scope")) {
		known := slices.Contains(scopesSupported, name) && !slices.Contains(scope, name)
		if known && (name != "offline_access" || offline) {
			scope = append(scope, name)
		}
	}
	return scope
}
