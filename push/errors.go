package push

import (
	"errors"
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Classes of errors, for errors.Is.
var (
	// ErrConfig: New was given a configuration that cannot work.
	ErrConfig = errors.New("wrong configuration")
	// ErrTakenOver: another process uses this owner's connection, and two that
	// share one would throw each other off for ever. Run has ended.
	ErrTakenOver = errors.New("taken over by another process with the same subscription ID")
	// ErrCertificate: there is no client certificate that can be used, or the
	// broker refuses it. An error of Config.Certificate that matches it says that
	// only a person can help.
	ErrCertificate = errors.New("no usable client certificate")
	// ErrDenied: the broker refuses this client or a filter; its administrator
	// must change something.
	ErrDenied = errors.New("denied by the broker")
	// ErrPacketTooLarge: the broker sent a packet beyond Config.MaxPacketSize, or one
	// that carries no message beyond 64 KiB.
	ErrPacketTooLarge = errors.New("packet too large")
	// ErrProtocol: the broker broke the rules of MQTT 5.0.
	ErrProtocol = errors.New("the broker broke the MQTT protocol")
	// ErrUnresponsive: the broker did not answer within the keep-alive time.
	ErrUnresponsive = errors.New("the broker does not answer")
	// ErrClosed: the broker closed the connection without saying why.
	ErrClosed = errors.New("the broker closed the connection without a reason")
	// ErrRunning: the connection is running already.
	ErrRunning = errors.New("already running")
)

// TakenOverError says how a take-over was noticed. It matches ErrTakenOver.
type TakenOverError struct {
	Owner     fds.OwnerKey
	Suspected bool // by its pattern: the broker gave no reason (Mosquitto never does)
	Endings   int  // Suspected: how many connections in a row ended soon after they came up
}

func (e *TakenOverError) Error() string {
	const advice = "stop the other process, or give it an owner of its own"
	if e.Suspected {
		return fmt.Sprintf("push: connection of %s: probably %v: the broker accepted and soon closed %d connections in a row; %s, or see what troubles the broker", e.Owner, ErrTakenOver, e.Endings, advice)
	}
	return fmt.Sprintf("push: connection of %s: %v; %s, then start again", e.Owner, ErrTakenOver, advice)
}

// Unwrap gives ErrTakenOver.
func (e *TakenOverError) Unwrap() error { return ErrTakenOver }

// CertificateError says why the client certificate cannot be used. It matches
// ErrCertificate and its cause.
type CertificateError struct {
	Owner               fds.OwnerKey
	Reason              string    // a sentence
	NotBefore, NotAfter time.Time // of the certificate; zero when it could not be read
	Passing             bool      // the source failed, and may not the next time: it is asked again soon
	Err                 error     // the source's or the broker's error; may be nil
}

func (e *CertificateError) Error() string {
	text := fmt.Sprintf("push: client certificate of %s: %s", e.Owner, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// isPassing reports whether err is of a source of certificates that failed for now.
func isPassing(err error) bool {
	var unusable *CertificateError
	return errors.As(err, &unusable) && unusable.Passing
}

// Unwrap gives ErrCertificate and the cause.
func (e *CertificateError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrCertificate}
	}
	return []error{ErrCertificate, e.Err}
}

// ReasonError is a reason code by which the broker refused or ended something
// (MQTT 5.0 section 2.4). It matches ErrDenied or ErrTakenOver where the code
// means that.
type ReasonError struct {
	Packet          string // CONNACK, SUBACK, UNSUBACK or DISCONNECT
	Code            byte
	Text            string // the broker's own words, at most 256 bytes; may be empty
	ServerReference string // another server to use, named by codes 0x9C and 0x9D; see Config.AllowedServers
	Filter          string // SUBACK and UNSUBACK: the filter it is about
}
