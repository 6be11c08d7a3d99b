package conformance

import (
	"context"
	"strings"
	"testing"
)

// FuzzNoForgeryIsTheToken takes tokens of any form apart and forges others of them.
func FuzzNoForgeryIsTheToken(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJleHAiOjE5MDAwMDAwMDB9.c2lnbmF0dXJl")
	f.Add("an opaque token")
	f.Add("e30.e30.")
	f.Add("eyJleHAiOjFlOTl9.eyJleHAiOi0xfQ.AAAA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if len(token) < 5 { // no server issues one, and a forgery may be it by chance
			return
		}
		parts, ok := splitJWT(token)
		if !ok {
			parts = &jwtParts{opaque: token}
		} else if !strings.HasPrefix(token, parts.rawAll+".") || !strings.HasSuffix(token, "."+parts.signature) {
			t.Fatalf("%q is not what it was taken apart into", token)
		} else if end, err := parts.expiry(); err == nil && end.Year() < 1969 {
			t.Errorf("it ends in %v", end)
		}
		for _, forge := range []func(*run, context.Context, *jwtParts) ([]forgery, string, error){alteredTokens, unsignedTokens, foreignKeyTokens, foreignTokens} {
			forgeries, why, err := forge(new(run), t.Context(), parts)
			if err == nil && why == "" && len(forgeries) == 0 {
				t.Error("nothing was forged, and nobody says why")
			}
			for _, one := range forgeries {
				if one.token == token && !(ok && parts.signature == "") {
					t.Errorf("%s: it is the token itself", one.what)
				}
			}
		}
	})
}
