package fdstest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// Options say what a provider is like. The zero value is a good one.
type Options struct {
	// AccessTokenLifetime is at least a millisecond; default 10 minutes.
	// SetTokenLifetimes changes it later.
	AccessTokenLifetime time.Duration
	// RefreshTokenLifetime is that of each refresh token from its issue; default
	// 30 days.
	RefreshTokenLifetime time.Duration
	// SubscriptionClaim is the claim of access and ID tokens that carries the
	// subscription IDs (W7), as a string or, for several, an array of strings;
	// default "subscription_id".
	SubscriptionClaim string
	// SubscriptionIn says where the subscription IDs appear under that name;
	// default InAccessToken | InIDToken | InIntrospection.
	SubscriptionIn SubscriptionPlace
	// NoRotation keeps a refresh token through its uses.
	NoRotation bool
	// RefreshGrace is how long after its use a refresh token may be used once
	// more by its application, so that a lost answer does not end the grant; both
	// of the tokens that it gave then serve. Default none: reuse ends the grant.
	RefreshGrace time.Duration
	// OpaqueTokens makes access tokens random strings instead of JWTs.
	OpaqueTokens bool

	// AuthMethods are the ways in which applications may authenticate; others are
	// refused. nil means none, client_secret_basic and client_secret_post. With a
	// TLS method the authorization server gets a second port, which asks for
	// client certificates and which the metadata names in mtls_endpoint_aliases
	// (RFC 8705 section 5); the Web API asks for client certificates too.
	AuthMethods []AuthMethod
	// CertificateBoundTokens offers access tokens that are bound to the
	// application's certificate (RFC 8705 section 3), to applications that are
	// registered for them. It opens the second port too.
	CertificateBoundTokens bool
	// DPoP offers tokens that are bound to a key (RFC 9449). Required refuses
	// token requests without a proof; Application.DPoP does so for one
	// application.
	DPoP Support
	// DPoPNonces names where a DPoP proof must carry a nonce of the provider
	// (RFC 9449 sections 8 and 9): TokenEndpoint, APIEndpoint or both.
	DPoPNonces []Endpoint
	// DPoPNonceLifetime is after how long such a nonce is replaced; the one before
	// is accepted for as long again. Default 5 minutes. RotateDPoPNonces does it at
	// once.
	DPoPNonceLifetime time.Duration
	// PushedRequests offers pushed authorization requests (RFC 9126). Required
	// refuses others; Application.PushedRequests does so for one application.
	PushedRequests Support
	// PushedRequestLifetime is that of a request_uri; default a minute.
	PushedRequestLifetime time.Duration
	// Resources are the resource indicators (RFC 8707) that may be asked for
	// besides APIURL, absolute URIs without a fragment. An access token's audience
	// is what was asked for, by default APIURL. nil ignores the parameter, and an
	// empty slice knows APIURL only.
	Resources []string
	// DeviceGrant offers the device authorization grant (RFC 8628).
	DeviceGrant bool
	// DeviceInterval is how long a device waits between two polls; default 5
	// seconds. The answer says it in whole seconds, rounded up, and the provider
	// holds the device to the exact value. A negative one is left out of the
	// answer, which means 5 seconds (RFC 8628 section 3.2).
	DeviceInterval time.Duration
	// DeviceCodeLifetime is that of a device code; default 10 minutes.
	DeviceCodeLifetime time.Duration
	// Introspection offers token introspection (RFC 7662) to applications that
	// authenticate, each for its own tokens and for those of Senders.
	Introspection bool

	// TimeRange is what the Web API calls the query parameters that bound statuses,
	// statistics and events by date-time, which FDS does not name; nil: from and to,
	// as RFC 3339 has it.
	TimeRange *TimeRange
	// WebAPI is how lists are asked for and answered; see there.
	WebAPI WebAPI

	// VerifyToken returns whose data a bearer token of the Web API reads, or why it reads
	// none, where tokens come from an authorization server that a test runs beside this
	// provider; nil: they come from the provider's own.
	VerifyToken func(ctx context.Context, token string) ([]fds.SubscriptionID, error)

	// Owners are there from the start; see AddOwner for what may be left out.
	// nil means Northside Hospital, Harbour Airport and Old Town School, an empty
	// slice none.
	Owners []Owner
	// Devices is how many devices each owner gets: default 40, at most 10,000. A
	// negative number makes none, to be filled with AddDevice and its kin.
	Devices int
	// Seed decides what the made-up sites are like, for the same subscription
	// IDs.
	Seed uint64
	// Quiet keeps the owners' devices still, except in Tick and Step. Otherwise
	// one device moves every LifeInterval.
	Quiet bool
	// LifeInterval is the time between two movements; default half a second.
	LifeInterval time.Duration

	// Network has the servers listen in this process's memory in place of TCP, so that a
	// test in a bubble of testing/synctest can run them; nil: TCP. Clients reach them by its
	// Dial.
	Network *Network

	// The ports on 127.0.0.1; 0 lets the system choose. MutualTLSPort is the
	// second one of the authorization server.
	AuthorityPort, MutualTLSPort, APIPort, BrokerPort int

	// Dir is a folder in which the provider is kept, so that the next one that is
	// started with it goes on where this one ends, however it ends. Default: nothing is
	// kept. The folder is made when it is not there; otherwise it is empty or an
	// earlier provider's, whose ports, certificate authority, keys, owners,
	// applications and their secrets, grants, devices with their history, tags, retained
	// messages and broker sessions then stand in place of Owners, Seed and Devices,
	// and, where these are 0, of the ports; all other options are as they are given.
	//
	// A token or a tag is kept before the client is answered. Of devices, events and
	// messages the last second may be forgotten if the process is killed; they are
	// forgotten together, so that what a client cannot get any more is not listed
	// either. A session of that last second is forgotten as a whole, and the client
	// told. Faults, open pages, pushed requests, device codes and lists of what came before
	// (APIRequests, Secrets) are not kept. The files hold keys and secrets and are the
	// user's alone; tokens are there as digests. One provider at a time uses a folder.
	Dir string

	// SessionExpiryMax bounds how long the broker keeps a session after its
	// connection, in whole seconds; default 24 hours. A negative value keeps
	// none.
	SessionExpiryMax time.Duration
	// ServerKeepAlive, in whole seconds, replaces the keep-alive of MQTT clients;
	// 0 leaves it to them.
	ServerKeepAlive time.Duration

	// Logger gets what happens at the provider, without tokens and payloads; nil:
	// no logs.
	Logger *slog.Logger
}

// TimeRange names query parameters. One without a name is not known: a request
// with it is refused.
type TimeRange struct {
	From, To string
	Layout   string // of their values, as package time writes layouts; default time.RFC3339
}

// Support reports whether the provider knows something that applications may use.
type Support int

// The degrees of support.
const (
	Unsupported = Support(authority.Unsupported)
	Optional    = Support(authority.Optional) // each application may use it
	Required    = Support(authority.Required) // every application must
)

// SubscriptionPlace is where subscription IDs appear; several are joined by |.
type SubscriptionPlace int

// The places.
const (
	InAccessToken   = SubscriptionPlace(authority.InAccessToken)   // a claim; opaque tokens have none
	InIDToken       = SubscriptionPlace(authority.InIDToken)       // a claim
	InTokenAnswer   = SubscriptionPlace(authority.InTokenAnswer)   // a member beside access_token
	InIntrospection = SubscriptionPlace(authority.InIntrospection) // a member of the introspection answer
)

const anyPlace = InAccessToken | InIDToken | InTokenAnswer | InIntrospection

func (o Options) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"AccessTokenLifetime", o.AccessTokenLifetime}, {"RefreshTokenLifetime", o.RefreshTokenLifetime},
		{"DPoPNonceLifetime", o.DPoPNonceLifetime}, {"PushedRequestLifetime", o.PushedRequestLifetime},
		{"DeviceCodeLifetime", o.DeviceCodeLifetime},
	} {
		if d.value < 0 || d.value > 0 && d.value < time.Millisecond {
			fault("%s is %v; it must be at least 1ms, or 0 for the default", d.name, d.value)
		}
	}
	if r := o.TimeRange; r != nil && (r.From == "ids" || r.To == "ids" || r.From == r.To && r.From != "") {
		fault("TimeRange names From %.100q and To %.100q; they must differ, also from ids", r.From, r.To)
	}
	o.WebAPI.faults(o.TimeRange, fault)
	if o.Devices > world.MaxDevices {
		fault("Devices is %d; an owner gets at most %d", o.Devices, world.MaxDevices)
	}
	if o.RefreshGrace < 0 {
		fault("RefreshGrace is %v; it cannot be negative", o.RefreshGrace)
	}
	for _, p := range []struct {
		name  string
		value int
	}{{"AuthorityPort", o.AuthorityPort}, {"MutualTLSPort", o.MutualTLSPort}, {"APIPort", o.APIPort}, {"BrokerPort", o.BrokerPort}} {
		if p.value < 0 || p.value > 65535 {
			fault("%s is %d; a port is at most 65535, or 0 to let the system choose", p.name, p.value)
		}
	}
	for _, s := range []struct {
		name  string
		value Support
	}{{"DPoP", o.DPoP}, {"PushedRequests", o.PushedRequests}} {
		if s.value < Unsupported || s.value > Required {
			fault("%s is %d; it is Unsupported, Optional or Required", s.name, s.value)
		}
	}
	if o.SubscriptionIn&^anyPlace != 0 {
		fault("SubscriptionIn holds an unknown place")
	}
	for _, at := range o.DPoPNonces {
		switch {
		case at != TokenEndpoint && at != APIEndpoint:
			fault("DPoPNonces names %.100q; a nonce is asked for at TokenEndpoint and APIEndpoint", string(at))
		case o.DPoP == Unsupported:
			fault("DPoPNonces is set, but DPoP is Unsupported")
		}
	}
	for _, method := range o.AuthMethods {
		if !slices.Contains(allAuthMethods, method) {
			fault("AuthMethods names %.100q, which is no way to authenticate here", string(method))
		}
	}
	if o.AuthMethods != nil && len(o.AuthMethods) == 0 {
		fault("AuthMethods is empty; nil means the default")
	}
	for _, resource := range o.Resources {
		if u, err := url.Parse(resource); err != nil || !u.IsAbs() || u.Fragment != "" {
			fault("resource %.200q is not an absolute URI without a fragment (RFC 8707 section 2)", resource)
		}
	}
	return errors.Join(faults...)
}

// mutualTLS reports whether the authorization server has its second port.
func (o Options) mutualTLS() bool {
	return o.CertificateBoundTokens || slices.Contains(o.AuthMethods, TLSClientAuth) || slices.Contains(o.AuthMethods, SelfSignedTLSClientAuth)
}
