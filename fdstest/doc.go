// Package fdstest is an FDS information provider in a box: an authorization server, the Web API,
// an MQTT broker and a certificate authority of its own, on loopback ports of this process. It
// has owners, whose made-up sites live. Start one in a test or a demonstration, point a client at
// it, and switch on what shall go wrong.
//
//	p := fdstest.New(t, fdstest.Options{Quiet: true})
//	owner := p.Owners()[0]
//	// ... begin a sign-in with p.Issuer(), p.Roots and the client "fdsdemo"
//	err := p.Approve(ctx, authorizationURL, owner)
//	off := p.Inject(fdstest.DropAfterWork(fdstest.TokenEndpoint).Times(1))
//
// fdsclient/example_test.go is a whole round with that client. In a test give it a Store and a
// State of its own, as there, instead of the user's keyring and folder.
//
// # From another process
//
// fdsdemo provider --dir DIR runs such a provider in a process of its own, and fdsdemo --config
// DIR/fdsdemo.yaml login --approve plays the person there. A test of your own plays it in
// SignInOptions.OpenBrowser, with an http.Client that has a cookie jar and trusts DIR/ca.pem. Its
// GET of the address that it is given follows the redirects to the consent page. It answers by a
// POST to the issuer's /consent of the form's fields: token, as on the page, owner, once for each
// chosen spelling of a subscription ID on the page, and decision=approve or deny. That redirect
// leads to the application, to which the client brings back the cookie of the first page.
//
// # What it is like
//
// All servers speak TLS 1.2 or newer (W1, W2, M1) on 127.0.0.1, with certificates for 127.0.0.1,
// ::1 and localhost. Those of HTTP speak HTTP/2 to clients that want it, and HTTP/1.1.
//
// The authorization server wants PKCE with S256. It rotates refresh tokens, and ends a grant when
// an old one comes again. It returns a refresh token for the scope offline_access with
// prompt=consent. Its consent page asks for no password: whoever opens it is the person.
//
// The broker wants a client certificate whose common name is the client ID (M2, M4), and keeps
// clients to their own topics (M5).
//
// What FDS leaves open, such as sub-topics and query parameters, is this box's own choice and not
// a rule that a client may rely on.
//
// # Ways in
//
// Options switches on what else an authorization server may offer or demand, and the metadata say
// so: client certificates and signed assertions in place of secrets (W4; RFC 8705, RFC 7523),
// access tokens bound to a certificate or a key (RFC 8705, DPoP of RFC 9449), pushed authorization
// requests (RFC 9126), resource indicators (RFC 8707), devices without a browser (RFC 8628),
// introspection (RFC 7662), opaque access tokens. Application says what one application uses or is
// held to, the client credentials grant included.
//
// The box is strict: a proof or an assertion that is only nearly right is refused, and
// error_description says why. There are no implicit and password grants.
//
//	p := fdstest.New(t, fdstest.Options{AuthMethods: []fdstest.AuthMethod{fdstest.TLSClientAuth}})
//	err := p.AddClient(fdstest.Application{ID: "fleet", AuthMethod: fdstest.TLSClientAuth, RedirectURIs: uris})
//	certificate, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "fleet"})
//
// # Lists
//
// Options.WebAPI has the Web API speak other dialects: pages by number, offset, cursor, Link
// header or a URL in the answer, lists in objects, has_more, other separators, a language, device
// IDs that are numbers, gzip.
//
//	p := fdstest.New(t, fdstest.Options{WebAPI: fdstest.WebAPI{
//		ListMember: "items",
//		Paging:     fdstest.Paging{CursorParameter: "cursor", CursorMember: "next_cursor", Size: 50},
//	}})
//
// # Whose an item is
//
// Every item but event specifications, which belong to nobody, and every message names its owner
// in the member subscription_id, or as WebAPI.SubscriptionMember has it. Or the Web API takes a
// parameter with the owner, WebAPI.SubscriptionParameter. Provider.Dialect tells all such names to
// a client under test:
//
//	client, err := pull.New(pull.Config{Dialect: p.Dialect(), ...})
//
// # Tags
//
// POST /fds/v2/tag takes a JSON object of at most 64 KiB with an object generic, of which the box
// reads nothing, and without entities. It gets a tag_id, a UUID, if it has none, and its owner.
// All else stays as it was sent.
//
// PUT /fds/v2/tag/{id}/entities takes a JSON array of IDs of the owner's devices and spaces, each
// a string, a number, or an object with a device_id or space_id. It stands in place of the
// entities before it. An unknown ID is 400 "unknown_entity", a tag_id that is taken 409, another's
// tag 404.
//
// # Messages
//
// A status is published at devices/<device_id>/status below fds/v2/<subscription_id>/, an event at
// devices/<device_id>/events, both with QoS 1 and not retained. An event given by hand that names
// no device is at spaces/<space_id>/events, or at events. Published by Publish a message may be
// retained, and by PublishExpiring it expires.
//
// # Webhooks
//
// Provider.SendTo sends what is published to an application's endpoint as well, by POST with an
// access token for that endpoint, as real senders do: an owner's messages in their order, each
// tried again with back-off until it is acknowledged.
//
//	s, err := p.SendTo(ctx, fdstest.Webhook{URL: "https://127.0.0.1:8443/fds"})
//	err = s.Deliver(ctx, owner, []byte(`{"generic":{}}`))
//	reply, err := s.Attempt(ctx, fdstest.Attempt{Owner: owner, Claims: map[string]any{"aud": p.APIURL()}})
//
// A message is the body, as it was published; with Webhook.Batch an array of them is. Where it is
// published is not said. Sender.Deliver sends one by hand, Sender.Attempt one request of which
// everything may be wrong, Sender.Hold opens many connections. Provider.RotateKeys has a new key
// sign. Sender.Deliveries counts.
//
// # What goes wrong
//
// Provider.Inject switches on a Fault, until its off function is called, or as often as
// Fault.Times says. Without one the provider is well-behaved. Of each there follows what the
// server does, where it is known from, and what a client ought to do. Faults that take an Endpoint
// fit every HTTP server. Those that begin with Odd are lists, for a test to range over: see Odd.
//
// With fdsclient: the second look at a refused grant comes after 30 s, a dead connection is found
// after about 16 s, and a young token is waited for up to 6 s. Give a test that meets them the
// time.
//
// Answers that are late, lost or not the provider's, at any endpoint:
//
//   - [Slow]: does the work and answers after a time (IdentityServer4#3368,
//     kurrent-io/kcap-cli#946: a rotation). Where the request spends something, a
//     client waits as long as the connection answers.
//   - [Drip], [Endless], [Oversized], [GzipBomb]: the answer comes byte by byte, does
//     not end, or is too large. A client bounds its time, what it reads, and that
//     after decompression.
//   - [DropBeforeWork], [DropAfterWork], [Truncated], [AnswerAfterWork]: the connection
//     or the gateway (502, 504) fails before or after the work. A client cannot tell
//     which: it repeats what may be repeated, once and soon where something was spent.
//   - [DeadConnections]: connections stay open and nothing comes through, while new
//     ones work (golang/go#30702, golang/go#36026). A client finds that out by HTTP/2's
//     PING and dials anew.
//   - [Unavailable], [TooManyRequests]: 503 and 429, before the work. A client waits as
//     long as Retry-After says, within reason, and loses nothing.
//   - [Answer], [WebPage], [Forbidden]: others answer: a portal, a proxy, a firewall
//     that dislikes the User-Agent (stacklok/toolhive#5167). It says nothing about a
//     grant; a client names what it got, and tries again.
//   - [Redirect]: sends the request elsewhere. A client does not follow with secrets.
//   - [RewriteAnswer]: whatever a test needs.
//   - [ContentType]: JSON under another type (aio-libs/aiohttp#7841). A client takes
//     what begins with { or [.
//   - [ByteOrderMark]: U+FEFF in front (Azure/go-autorest#109). A client skips it.
//
// Token requests, from which nothing that was spent may be lost:
//
//   - [OddTokenAnswers]: odd members, types, sizes, cuts (CMSgov/bluebutton-web-server#512,
//     TykTechnologies/tyk#1585, canvas-lms#2639). A client saves the refresh token first
//     and takes what it cannot read for absent, if it is optional.
//   - [OddRefusals]: errors under other types and statuses, other codes (kanidm#4470,
//     decocms/studio#3774, getsentry/junior#620). A client reads them all the same.
//   - [OAuthError]: refuses with any code and description, HostileText for one. A client
//     escapes and cuts what it shows.
//   - [RefuseRefresh]: refuses a good refresh token, once or more (Salesforce says "token
//     request is already being processed"). A client looks twice before it asks a
//     person to sign in.
//   - [ReplayRefresh]: repeats the answer to a spent refresh token, as some do for about
//     30 seconds. A client may repeat a lost request within that time. By default reuse
//     ends the grant, as RFC 9700 section 4.14.2 has it.
//   - [NoNewRefreshToken]: does not rotate. A client keeps the refresh token.
//   - [TokenAnswerMember]: sets a member to another value, or none: a token_type that the
//     client does not know is refused, a missing one of the optional is not.
//   - [AnotherNonce]: asks for another DPoP nonce each time. A client gives up in the end.
//   - [RenewalWithoutDPoP]: issues a bearer token where a bound one was due. A client keeps
//     the refresh token, reports it and does not use the access token.
//   - [TokenSubscription], [RenewalSubscription]: names other owners, or none. A client
//     uses the token for no owner that it does not name, and ends those that are gone;
//     Provider.Withdraw takes an owner out for good.
//
// Sign-in:
//
//   - [OddMetadata]: {}, another issuer, HTML at one of the two well-known places, members
//     of other types (envoyproxy/ai-gateway#2592, can1357/oh-my-pi#3539). A client goes on
//     to the other place and judges an endpoint when it uses it.
//   - [MetadataMember]: sets a member to another value. A client refuses another issuer and
//     a token_endpoint over http.
//   - [OddKeySets]: a malformed or unknown key beside the good one, 503 once (huskarl#139).
//     A client skips the key and asks again.
//   - [OddIDTokens], [IDTokenClaim], [IDTokenHeader]: HS256 that nobody asked for
//     (auth0-golang-web-app#24), alg none, another azp, at_hash, nonce, dates. A client
//     that needs the ID token refuses it; one that does not leaves it aside.
//   - [OddRedirects], [ResponseQuery]: semicolons and malformed escapes
//     (oauth2-proxy#1841, golang/go#50034). A client splits at & only and leaves aside
//     pairs that it does not need.
//   - [ResponseParameter]: sets a parameter of the redirect to another value; a denial
//     without state (authlib#525), for one. A client tells the person, and ends no
//     attempt that it cannot name.
//   - [ResponseIssuer], [NoResponseIssuer]: another iss, or none though it is promised,
//     as in a mix-up (RFC 9207). A client refuses.
//   - [OddDeviceAnswers]: verification_url, numbers as strings (MSAL.NET#984). A client
//     takes them, and shows no person what is not https or holds control characters.
//
// The Web API:
//
//   - [Unauthorized]: 401. A client renews the access token, once.
//   - [YoungTokensRefused]: 401 for access tokens that are seconds old
//     (greenpau/caddy-security#13). A client waits a little and asks again, and spends no
//     second refresh token.
//   - [OddListEnds]: a cursor, link or URL on the last page, 404 or 204 past the end
//     (Glitchedpixel-io/media-api#66, encode/django-rest-framework#3920). A client takes
//     them for the end, unless the answer says that there is more.
//   - [NextOverHTTP]: the next page's URL begins with http (paperless-ngx#3130). A client
//     asks the provider's own host over https, and no other host.
//   - [NullLists]: an empty list is null (NebulousLabs/Sia#1406). A client takes it so.
//   - [LongAddresses]: 414 above so many bytes (OrchardCore#12840; IIS takes 2,048 bytes of
//     query). A client asks for fewer IDs at a time.
//   - [ForbiddenForNow]: 403 with Retry-After (RFC 9110 section 10.2.3). A client waits, as
//     for 429.
//   - [OddItems]: date-times that are numbers or have another form; WebAPI.NumericIDs has
//     device IDs be numbers. A client reads them, and passes on what was sent.
//   - [NextPageIsItself]: pages that lead in a circle (Glitchedpixel-io/media-api#66). A
//     client notices and ends.
//   - [NamelessItems], [ItemSubscription]: items name nobody, or somebody else, all or only
//     some. Where a token covers several owners, a client hands no item to one of whom it
//     is not certain, and says which setting is missing.
//   - [LoseTagAnswer]: makes a tag and loses the answer. A client does not ask again by
//     itself.
//
// The broker:
//
//   - [RefuseConnections], [AnswerConnect], [DenySubscriptions], [Disconnect]: refuses. A
//     client knows which reason codes are final, and waits longer each time for the others.
//   - [DropConnections], [SilentBroker], [CutNextPublish]: connections that end, hang or
//     break within a message. A client notices by its keep-alive and connects again.
//   - [LoseSessions], [SmallQueue]: loses messages without a word. A client reads from the
//     Web API what it may have missed.
//   - [LargePackets]: ignores the client's maximum packet size. A client ends the
//     connection.
//   - [RepeatUnacknowledged]: sends again on the same connection what a slow handler has
//     not acknowledged (EMQX's retry_interval, emqx/MQTTX#599, hivemq-mqtt-client#491). A
//     client knows it by its packet ID and acknowledges it once.
//   - [PacketIDsInUse]: takes the packet ID of a request for that of a message in flight
//     (mochi-mqtt). A client numbers its requests elsewhere and asks again.
//   - [ShortSessions]: keeps a session for minutes in place of a day (ejabberd). A client
//     says so, and reads from the Web API what it may have missed.
//   - [AnswerForeign], [AnswerWithoutTLS]: a web server, SSH or MQTT 3.1.1 answers, inside
//     TLS or in its place. A client says what answered and does not wait for more.
//   - [DemandProtocol]: wants ALPN (aws-iot-device-sdk-swift#80). A client has a setting.
//   - [OldBrokerTLS], [NoClientCertificates], [AnyAuthority], [AnyClientID]: lets in whom M1,
//     M2 and M4 shut out. Who checks brokers notices.
//   - [NoAccessRules], [ProvidersSubscribe], [SubscribersPublish]: keeps M5, M6 or M7 no
//     longer. Provider.PublisherCertificate is for those who look for that.
//
// The sender of webhooks, who may be anybody:
//
//   - [RepeatWebhooks]: sends again what was acknowledged, with its webhook-id, since the answer
//     was lost. A receiver acknowledges it and handles it once.
//   - [ReplayWebhooks]: somebody sends a good request again. A receiver does the same.
//   - [DisorderWebhooks]: sends one message before the other. A receiver goes by the time in the
//     message.
//   - [ExpiredWebhooks], [ForgeWebhooks]: sends an expired token, or one by another key. A
//     receiver answers 401, asks for no key because of it, and takes what comes after it with the
//     same webhook-id.
//   - [SlowWebhooks]: the body comes byte by byte. A receiver bounds its time.
//
// What a server leaves out that it must demand. A client cannot see most of that in its daily
// work: package conformance looks for it.
//
//   - [PlainHTTP], [ServerTLS]: speaks without TLS, in an old version of it, or with a
//     certificate that is over, of another name, or of an unknown authority. A client
//     speaks to no such server.
//   - [LooseAuthorization]: takes a token that nobody issued, one in the query, none, or
//     reads another owner's items by it. A client sends its token in the header alone.
//   - [AnyCredentials]: takes whoever knows an application's name for the application.
//   - [AnyVerifier]: does not look at the code_verifier of PKCE.
//   - [WithoutPKCE], [AnyRedirectURI], [CodesServeTwice]: a sign-in in which a code that was
//     stolen serves the thief. A client uses PKCE all the same.
//   - [SpentRefreshTokensServe]: an old copy of a refresh token serves for ever.
//
// # What is kept
//
// Keys, tokens and data end with the Provider, unless Options.Dir names a folder: the
// next one that is started with it has the same addresses, certificate authority, owners,
// applications, grants, devices, histories, tags and broker sessions. So a test, or a
// person, sees a client through a restart, or through kill -9.
//
//	p := fdstest.New(t, fdstest.Options{Dir: dir})
//	p.Close()
//	p = fdstest.New(t, fdstest.Options{Dir: dir})
//
// # In a bubble
//
// On a Network, which is in memory, a provider runs in a bubble of testing/synctest, beside
// the client under test: days pass at once, and nothing depends on how busy the machine is.
//
//	synctest.Test(t, func(t *testing.T) {
//		var network fdstest.Network
//		p := fdstest.New(t, fdstest.Options{Network: &network, Quiet: true})
//		issued, err := p.OwnerCertificate(p.Owners()[0])
//		client, err := fdsclient.New(fdsclient.Config{
//			Provider: fdsclient.Provider{
//				Issuer: p.Issuer(), APIURL: p.APIURL(), BrokerURL: p.BrokerURL(),
//				Roots: p.Roots, Dial: network.Dial,
//			},
//			Application: fdsclient.Application{ClientID: p.PublicApplication().ID},
//			Store:       tokenstore.OpenMemory(),
//			State:       &statestore.Memory{},
//			Certificates: func(context.Context, fds.OwnerKey) (*tls.Certificate, error) {
//				return &issued.TLS, nil
//			},
//		})
//		defer client.Close()
//		owners, err := client.SignIn(t.Context(), fdsclient.SignInOptions{
//			ShowURL:     func(string) {},
//			OpenBrowser: func(ctx context.Context, url string) error {
//				return p.Approve(ctx, url)
//			},
//		})
//		... // go client.Run(ctx, handler)
//		time.Sleep(24 * time.Hour)
//		synctest.Wait()
//	})
//
// Start, dial and close in the bubble: what is made outside of it cannot be waited for
// within. Without Quiet the devices move twice a second of all that time. The redirect of
// a sign-in on the loopback interface comes by TCP, so the clock stands still until the
// person is done: let Approve be that person, and do not wait in OpenBrowser.
// fdsclient/bubble_test.go is the whole of it.
//
// The package shares no code with the client packages of this module, so that the two
// cannot agree on a mistake.
package fdstest
