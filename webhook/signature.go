package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Standard Webhooks 1.0.0.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"

	secretPrefix         = "whsec_"
	leastSecret          = 24 // bytes
	mostSecret           = 64
	timestampTolerance   = 5 * time.Minute // before and after now
	maxSignatures        = 16              // in one header
	maxSecrets           = 16
	maxID                = 256 // bytes of a webhook-id
	maxSignatureHeader   = 4 << 10
	signatureVersion     = "v1,"
	signatureVersionSize = len(signatureVersion)
)

// deliveryID returns the webhook-id of a request, which is the same for each attempt; "": it has
// none.
func deliveryID(h http.Header) (string, error) {
	values := h.Values(headerID)
	if len(values) == 0 {
		return "", nil
	}
	if id := values[0]; len(values) == 1 && id != "" && len(id) <= maxID && strings.IndexFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) < 0 {
		return id, nil
	}
	return "", malformed(http.StatusBadRequest, "webhook-id is there more than once, empty, longer than 256 bytes, or not in letters that can be seen")
}

// signed refuses a delivery that no secret of its owner has signed.
func (r *Receiver) signed(ctx context.Context, h http.Header, owner fds.OwnerKey, id string, body []byte) error {
	if r.cfg.Secrets == nil {
		return nil
	}
	secrets, err := r.secrets(ctx, owner)
	if err != nil {
		return &refusal{status: http.StatusServiceUnavailable, why: "Settings.Secrets failed", class: fds.ErrUnavailable, cause: err}
	}
	stamps, signatures := h.Values(headerTimestamp), h.Values(headerSignature)
	if id == "" || len(stamps) != 1 || len(signatures) != 1 || len(signatures[0]) > maxSignatureHeader {
		return unsigned("the headers webhook-id, webhook-timestamp and webhook-signature must be there, once each")
	}
	seconds, err := strconv.ParseInt(stamps[0], 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return unsigned("webhook-timestamp is no number of seconds")
	}
	if off := time.Since(time.Unix(seconds, 0)); off > timestampTolerance || off < -timestampTolerance {
		return unsigned("webhook-timestamp is more than 5 minutes from now; check this machine's clock")
	}
	var given [][]byte
	for one := range strings.FieldsSeq(signatures[0]) {
		if !strings.HasPrefix(one, signatureVersion) { // of another version
			continue
		}
		if sum, err := base64.StdEncoding.DecodeString(one[signatureVersionSize:]); err == nil && len(given) < maxSignatures {
			given = append(given, sum)
		}
	}
	fits := false
	for _, secret := range secrets[:min(len(secrets), maxSecrets)] {
		key, ok := secretKey(secret)
		if !ok {
			return &refusal{status: http.StatusServiceUnavailable, why: "Settings.Secrets has one that is not whsec_ and base64 of 24 to 64 bytes", class: fds.ErrConfig}
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamps[0] + "."))
		mac.Write(body)
		sum := mac.Sum(nil)
		for _, one := range given {
			fits = hmac.Equal(sum, one) || fits
		}
	}
	if !fits {
		return unsigned("none of the owner's secrets has made it")
	}
	return nil
}

// secrets returns those of an owner.
func (r *Receiver) secrets(ctx context.Context, owner fds.OwnerKey) ([]fds.Secret, error) {
	ctx, end := context.WithTimeout(ctx, r.cfg.HandlerTimeout)
	defer end()
	return contained("Settings.Secrets", func() ([]fds.Secret, error) { return r.cfg.Secrets(ctx, owner) })
}

// secretKey decodes a secret.
func secretKey(secret fds.Secret) (key []byte, ok bool) {
	text, ok := strings.CutPrefix(secret.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	return key, ok && err == nil && len(key) >= leastSecret && len(key) <= mostSecret
}
