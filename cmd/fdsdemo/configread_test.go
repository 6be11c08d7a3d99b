package main

import "testing"

func TestATabAndAnUnknownAnchorAreFoundInTheirLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"provider:\n  issuer: x\n\tapi_url: y\n":               "x.yaml:3: a tab stands before the text; indent with spaces, not with tabs",
		"provider:\n  issuer: x\n  api_url: y\n  tls: *none\n": "x.yaml:4: *none refers to an anchor &none that is not above it; a text that begins with * needs quotes",
	} {
		if _, err := parseDocument("x.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
