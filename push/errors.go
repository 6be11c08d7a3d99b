package push

import (
	"errors"
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// TakenOverError says how a take-over was noticed. It matches fds.ErrTakenOver.
type TakenOverError struct {
	Owner     fds.OwnerKey
	Suspected bool // by its pattern: the broker gave no reason (Mosquitto never does)
	Endings   int  // Suspected: how many connections in a row ended soon after they came up
}

func (e *TakenOverError) Error() string {
	const advice = "stop the other process, or give it an owner of its own"
	if e.Suspected {
		return fmt.Sprintf("push: connection of %s: probably %v: the broker accepted and soon closed %d connections in a row; %s, or see what troubles the broker", e.Owner, fds.ErrTakenOver, e.Endings, advice)
	}
	return fmt.Sprintf("push: connection of %s: %v; %s, then start again", e.Owner, fds.ErrTakenOver, advice)
}

// Unwrap returns fds.ErrTakenOver.
func (e *TakenOverError) Unwrap() error { return fds.ErrTakenOver }

// CertificateError says why the client certificate cannot be used. It matches
// fds.ErrCertificate and its cause.
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

// Unwrap returns fds.ErrCertificate and the cause.
func (e *CertificateError) Unwrap() []error {
	if e.Err == nil {
		return []error{fds.ErrCertificate}
	}
	return []error{fds.ErrCertificate, e.Err}
}

// ReasonError is a reason code by which the broker refused or ended something
// (MQTT 5.0 section 2.4). It matches fds.ErrBrokerDenied or fds.ErrTakenOver where the code
// means that.
type ReasonError struct {
	Packet          string // CONNACK, SUBACK, UNSUBACK or DISCONNECT
	Code            byte
	Text            string // the broker's own words, at most 256 bytes; may be empty
	ServerReference string // another server to use, named by codes 0x9C and 0x9D; see Config.AllowedServers
	Filter          string // SUBACK and UNSUBACK: the filter it is about
}
