package conformance

// requirements are what FDS demands (its chapter 2.6.4), in the words of this SDK, in the order of
// a report.
var requirements = []struct{ id, text string }{
	{"setup", "What has to work on this side before anything is learnt"},
	{"W1", "Every connection of the Web API is HTTPS"},
	{"W2", "Data is encrypted by TLS 1.2 at the least"},
	{"W3", "Access is managed by a dedicated authorization server"},
	{"W4", "The client application itself is authenticated there"},
	{"W5", "The resource owner is identified and authorized by an OAuth 2 token"},
	{"W6", "The subscription ID is a UUID of version 4"},
	{"W7", "The OAuth 2 token includes the subscription ID"},
	{"W8", "The authorization code flow is offered, and is safe"},
	{"W9", "The access token travels in the header of every request"},
	{"W10", "The refresh token renews the access token, so that the owner's user signs in once only"},
	{"API", "Errors of the Web API are the error objects of FDS"},
	{"M1", "MQTT is encrypted by TLS 1.2 at the least"},
	{"M2", "Publisher and subscriber authenticate with X.509 certificates of the broker's administrator"},
	{"M3", "Each resource owner has a connection of its own"},
	{"M4", "The MQTT client ID is the owner's subscription ID"},
	{"M5", "A subscriber can only subscribe to topics below fds/v2/<its subscription ID>/"},
	{"M6", "Only information providers publish"},
	{"M7", "Client applications only subscribe"},
	{"M8", "Where the client application runs the broker, its administrator configures all of this"},
}
