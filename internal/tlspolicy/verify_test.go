package tlspolicy

import (
	"crypto/tls"
	"strings"
	"testing"
)

func TestAttackAConfigurationThatVerifiesNothingIsRefused(t *testing.T) {
	for name, config := range map[string]*tls.Config{"none": nil, "ours": ClientConfig(nil, false), "empty": {}} {
		if err := Verifies(config); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, config := range map[string]*tls.Config{
		"no verification":         {InsecureSkipVerify: true},
		"a function that may not": {InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return nil }},
	} {
		if err := Verifies(config); err == nil || !strings.Contains(err.Error(), "RootCAs") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
