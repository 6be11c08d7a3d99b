package authserver

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
)

// readJWT reads the header and those claims of a token that is a signed JWT (RFC 7519),
// as which it may lie: no signature is checked. ok is false when it is none.
func readJWT(token fds.Secret, claims ...string) (header, payload object, ok bool) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return header, payload, false
	}
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return header, payload, false
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return header, payload, false
	}
	header = readObject(bytes.NewReader(head), "alg", "kid", "typ")
	payload = readObject(bytes.NewReader(body), claims...)
	if header.fault != nil || payload.fault != nil {
		return object{}, object{}, false
	}
	return header, payload, true
}
