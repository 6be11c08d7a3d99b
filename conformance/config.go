package conformance

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

// Config says what is checked, and how far that may go.
type Config struct {
	// Client is the configuration with which the application uses the provider. Its store and
	// certificates are used; its hooks and its State are not.
	Client fdsclient.Config

	// Owner is the owner whose grant reads the Web API. The zero value is the first stored
	// one that is no spare owner, or else the first spare one.
	Owner fds.SubscriptionID

	// SpareOwners are owners whom nobody uses: checks connect to the broker with their
	// certificates, which on some brokers ends the connection that the owner has, and publish
	// below their roots. With two of them, one tries to get at the other's messages.
	SpareOwners []fds.SubscriptionID

	// Intrusive allows with every owner what may disturb it: connecting with its certificate
	// though it may be in use, which a program that has the connection takes for another process
	// (fds.ErrTakenOver) and may end for, and what can make the provider revoke a grant, such as
	// the use of a refresh token that was replaced.
	Intrusive bool

	// SignIn, when set, means that a person is at the browser and signs in several times, as
	// these options say. The grants that come of it are not stored, and signed out at the end. Have
	// the person sign in for a spare owner: a provider may end an older grant of the same owner.
	SignIn *fdsclient.SignInOptions

	// Publisher returns the certificate of a connection of an information provider's, when
	// who checks has one, as who runs the broker does. By it messages are published of which
	// is seen who receives them. Only spare owners', or with Intrusive all owners', topics are
	// published to. On some brokers it ends the connection that has the same certificate: let
	// it be one that was made for this.
	Publisher func(context.Context) (*tls.Certificate, error)

	// BrokerFolder is the folder that package brokerconfig has written, when the application
	// runs the broker (M8).
	BrokerFolder string

	// ExpiredToken is an access token of Owner's whose time is over. Without one the check
	// waits for the end of a fresh one, if that is at most two minutes away.
	ExpiredToken fds.Secret

	// OnResult is told each result as soon as it is known, from the goroutine of Run, until the
	// run stops because nothing else can work. May be nil.
	OnResult func(Result)
	// OnProgress is told what is tried now, one sentence, from the goroutine of Run. May be nil.
	OnProgress func(string)

	// CheckTimeout bounds each check; default a minute. A check that waits for a person has 15
	// minutes.
	CheckTimeout time.Duration
}

const (
	defaultCheckTimeout = time.Minute
	personTimeout       = fdsclient.AttemptLifetime
)
