package fds

import "errors"

// Classes of errors, for errors.Is: all of this module, one for each meaning. The error at
// hand says more in its text, and the types that packages document say more in their
// fields. fdsclient.Retryable and fdsclient.SignInNeeded tell what to do about one.

// What the application has given.
var (
	// ErrConfig: a configuration or the options of a call are wrong. Of fdsclient.New, push.New
	// and pull.New it is a *ConfigError, with every fault.
	ErrConfig = errors.New("wrong configuration")
	// ErrMalformed: a key or a grant cannot be stored as it is.
	ErrMalformed = errors.New("malformed")
	// ErrQuery: a query or a tag's ID is malformed; nothing was sent.
	ErrQuery = errors.New("malformed query")
	// ErrRunning: a connection or an owner is consumed already, by this process or another.
	ErrRunning = errors.New("already running")
	// ErrFenced: the application's fence (push.Config.Fence, fdsclient.Selection.Fence) said that this
	// process may not go on with an owner. What it had in hand is not acknowledged.
	ErrFenced = errors.New("fenced off")
	// ErrClientClosed: the Client was closed.
	ErrClientClosed = errors.New("client closed")
)

// Objects of FDS.
var (
	// ErrItem: an object is not what FDS says: not JSON, not an object, or with a member of
	// another kind than stated.
	ErrItem = errors.New("malformed item")
	// ErrNoMember: an item lacks the member that was asked for.
	ErrNoMember = errors.New("no such member")
	// ErrSubscriptionID: a text is no subscription ID (W6).
	ErrSubscriptionID = errors.New("malformed subscription ID")
	// ErrTopic: a topic or a topic filter is not what FDS or MQTT allows.
	ErrTopic = errors.New("malformed topic")
	// ErrForeignTopic: a well-formed topic belongs to another owner, or spells the
	// subscription ID in other letters than the owner's root (M5).
	ErrForeignTopic = errors.New("topic of another owner")
	// ErrOwner: nobody can tell whose an item is, or for whom a change would be, and it may
	// be another owner's. Where it is the error of an item the list goes on after it.
	ErrOwner = errors.New("nobody can tell whose it is")
)

// Sign-in and grants.
var (
	// ErrSignInRequired: the provider no longer honours the owner's grant, or it can be
	// renewed no more. Only a new sign-in of the owner's user helps.
	ErrSignInRequired = errors.New("sign in again")
	// ErrNoOwner: nobody has signed in for this owner, or who had has signed out.
	ErrNoOwner = errors.New("no such owner")
	// ErrAccessDenied: the owner's user refused to give access.
	ErrAccessDenied = errors.New("access denied by the user")
	// ErrForeignRedirect: a redirect does not belong to the pending sign-in. Ignore it and go
	// on waiting: any web page can cause one.
	ErrForeignRedirect = errors.New("redirect of another sign-in")
	// ErrAttemptUsed and ErrAttemptExpired: begin a new sign-in.
	ErrAttemptUsed    = errors.New("sign-in attempt already used")
	ErrAttemptExpired = errors.New("sign-in attempt expired")
	// ErrIssuer: an authorization server spoke under another name than the one configured
	// (RFC 8414 section 3.3, RFC 9207 section 2.4).
	ErrIssuer = errors.New("issuer does not match")
	// ErrNoSubscription: what the provider issued names no subscription ID (W7).
	ErrNoSubscription = errors.New("no subscription ID in the token")
	// ErrSubscriptionChanged: a renewed token does not name all subscription IDs of the
	// grant. It is not used for the owners that it no longer names, who must sign in again:
	// the error matches ErrSignInRequired too.
	ErrSubscriptionChanged = errors.New("renewed token is for another owner")
	// ErrGrantShared: the grant of an owner who signed out lives on for others who signed in
	// together with this one.
	ErrGrantShared = errors.New("the grant is held for others still")
)

// The provider's servers.
var (
	// ErrUnavailable: the authorization server or the Web API could not be reached, gave half
	// an answer, or did not answer as it should: HTTP 408 or 5xx. Trying again later helps.
	ErrUnavailable = errors.New("provider not available")
	// ErrRateLimited: the provider asks for fewer requests. Trying again later helps.
	ErrRateLimited = errors.New("the provider asks for fewer requests")
	// ErrUnauthorized: the Web API does not accept the access token.
	ErrUnauthorized = errors.New("the provider does not accept the access token")
	// ErrInvalidParameter: the Web API refuses a parameter or the body.
	ErrInvalidParameter = errors.New("the provider refuses a parameter or the body")
	// ErrNotImplemented: the Web API does not have this for this type of device.
	ErrNotImplemented = errors.New("the provider does not implement this for this type of device")
	// ErrNotFound: the Web API does not know the address, or has no such tag.
	ErrNotFound = errors.New("the provider does not know this address")
	// ErrAnswer: an answer of the Web API is not JSON, not a list, over a bound, a circle of
	// pages, or a redirect elsewhere.
	ErrAnswer = errors.New("unusable answer")
	// ErrUnknownOutcome: what was to be created may have been. Look before you create it
	// again.
	ErrUnknownOutcome = errors.New("the provider may have done it, or not")
	// ErrUnchanged is what a list yields in place of its items when it is still what
	// pull.Query.Version remembers.
	ErrUnchanged = errors.New("nothing has changed")
)

// The broker.
var (
	// ErrTakenOver: another process uses this owner's connection, and two that share one
	// would throw each other off for ever.
	ErrTakenOver = errors.New("taken over by another process with the same subscription ID")
	// ErrCertificate: there is no client certificate that can be used, or the broker refuses
	// it. An error of a certificate source that matches it says that only a person can help.
	ErrCertificate = errors.New("no usable client certificate")
	// ErrNoCertificate: a certificate source has none for this owner. It matches
	// ErrCertificate: only a person can help.
	ErrNoCertificate error = noCertificateError{}
	// ErrBrokerDenied: the broker refuses this client or a filter; its administrator must
	// change something.
	ErrBrokerDenied = errors.New("denied by the broker")
	// ErrPacketTooLarge: the broker sent a packet beyond MaxPacketSize, or one that carries no
	// message beyond 64 KiB.
	ErrPacketTooLarge = errors.New("packet too large")
	// ErrProtocol: the broker broke the rules of MQTT 5.0.
	ErrProtocol = errors.New("the broker broke the MQTT protocol")
	// ErrUnresponsive: the broker did not answer within the keep-alive time.
	ErrUnresponsive = errors.New("the broker does not answer")
	// ErrConnectionClosed: the broker closed the connection without saying why.
	ErrConnectionClosed = errors.New("the broker closed the connection without a reason")
	// ErrQueueFull is the reason why a message of quality of service 0 was dropped: the
	// handler fell behind.
	ErrQueueFull = errors.New("the handler fell behind")
)

// Stores of grants and of states.
var (
	// ErrNoGrant: the store has no such grant.
	ErrNoGrant = errors.New("no such grant")
	// ErrStoreUnavailable: the store cannot be used now: a locked or missing keyring, no
	// D-Bus, a keyring that does not answer in time, a full disk, a lock that was lost. The
	// error's text says what to do; the grants are not lost.
	ErrStoreUnavailable = errors.New("store not available")
	// ErrConflict: the stored record is not the one that the revision names. Nothing was
	// changed; load it again.
	ErrConflict = errors.New("the stored record is another one")
	// ErrCorrupt: the stored record is damaged or was tampered with, and no later attempt
	// fares better. For a grant the owner must sign in again, unless there is a backup.
	ErrCorrupt = errors.New("damaged record")
	// ErrNewerFormat: the record was written by a newer version of this module, which must
	// read it too.
	ErrNewerFormat = errors.New("written by a newer version")
	// ErrTooLarge: what was to be stored is beyond the store's bound, or a stored record is
	// beyond what a store reads. Nothing was changed.
	ErrTooLarge = errors.New("too large")
	// ErrWrongKey: the passphrase or identity does not open this folder, or the folder's key
	// is gone from the keyring.
	ErrWrongKey = errors.New("wrong key")
	// ErrPartlySaved: the record was too large for the room that Reserve had made sure of,
	// and there was no more. What cannot be had again is saved, the refresh token above all;
	// the access token and the scopes are not.
	ErrPartlySaved = errors.New("saved in part")
	// ErrUnsafe: a file or folder belongs to someone else, is a symbolic link or lets others
	// in, and is therefore not used.
	ErrUnsafe = errors.New("unsafe file")
	// ErrNoClaims: nothing could be claimed here that other processes see. The text has the
	// reason.
	ErrNoClaims = errors.New("claims are not seen by other processes")
)

type noCertificateError struct{}

func (noCertificateError) Error() string { return "no certificate for this owner" }

// Is matches ErrCertificate too.
func (noCertificateError) Is(target error) bool { return target == ErrCertificate }
