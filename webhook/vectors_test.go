package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/keyset"
)

// The examples of the standards, by the code that takes deliveries.

func TestTheSignaturesOfTheStandardsAreVerified(t *testing.T) {
	const joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	for name, v := range map[string]struct{ algorithm, key, token, payload string }{
		"RFC 7515 appendix A.2": {"RS256", `{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`,
			"eyJhbGciOiJSUzI1NiJ9." + joe + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
			"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"},
		"RFC 7515 appendix A.3": {"ES256", `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
			"eyJhbGciOiJFUzI1NiJ9." + joe + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
			"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"},
		"RFC 8037 appendix A.4": {"EdDSA", `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
			"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
			"Example of Ed25519 signing"},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := keyset.Parse([]byte(`{"keys":[` + v.key + `]}`))
			if err != nil || set.Len() != 1 {
				t.Fatal(set, err)
			}
			r := &Receiver{keys: new(keys)}
			r.keys.set.Store(set)
			parts := strings.Split(v.token, ".")
			h, err := newHeader(parts[0], v.algorithm, "")
			if err != nil {
				t.Fatal(err)
			}
			signature, err := base64.RawURLEncoding.DecodeString(parts[2])
			if err != nil {
				t.Fatal(err)
			}
			if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err != nil || string(payload) != v.payload {
				t.Fatalf("%q, %v", payload, err)
			}
			if _, err := r.verifySignature(t.Context(), h, []byte(v.payload), signature); err != nil {
				t.Error(err)
			}
			for _, changed := range []string{v.payload + " ", v.payload[1:], ""} {
				if _, err := r.verifySignature(t.Context(), h, []byte(changed), signature); err == nil {
					t.Errorf("a changed one: %q", changed)
				}
			}
			signature[0] ^= 1
			if _, err := r.verifySignature(t.Context(), h, []byte(v.payload), signature); err == nil {
				t.Error("a changed signature")
			}
		})
	}
}

// clientCertificate is that of the example of RFC 9440, as a proxy puts it into a request.
const clientCertificate = "MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk="

func TestTheCertificateOfRFC9440IsReadFromItsHeader(t *testing.T) {
	der, ok := clientCert(http.Header{"Client-Cert": {":" + clientCertificate + ":"}})
	if !ok {
		t.Fatal("it is not read")
	}
	if certificate, err := x509.ParseCertificate(der); err != nil || certificate.Subject.CommonName != "BC" || certificate.EmailAddresses[0] != "bdc@example.com" {
		t.Error(certificate, err)
	}
}

func TestTheTokenOfRFC8705IsBoundToItsCertificate(t *testing.T) {
	// Appendix A.
	block, _ := pem.Decode([]byte(`-----BEGIN CERTIFICATE-----
MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx
ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ
/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID
SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV
bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=
-----END CERTIFICATE-----`))
	hash := sha256.Sum256(block.Bytes)
	bound, err := confirmation([]byte(`{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}`))
	if err != nil || !bytes.Equal(bound, hash[:]) {
		t.Errorf("%x, %v", bound, err)
	}
	// Section 3.1, whose last letter has bits that are for nothing.
	if bound, err := confirmation([]byte(`{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}`)); err != nil || base64.RawURLEncoding.EncodeToString(bound) != "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0" {
		t.Error(bound, err)
	}
}

// judged returns why claims are refused at a moment.
func judged(t *testing.T, at int64, s Settings, claims string) (why string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(at, 0)))
		s.ClientClaim = "client_id"
		read, err := object([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		r := &Receiver{cfg: Config{Settings: s, SubscriptionClaim: "sub"}}
		_, err = r.judge(read)
		why = err.Error()
	})
	return why
}

func TestTheClaimsOfTheStandardsArePassedUpToTheirOwner(t *testing.T) {
	for name, v := range map[string]struct {
		issued, expires          int64
		audience, client, claims string
	}{
		"RFC 9068 section 3": {1618354090, 1639528912, "https://rs.example.com/", "s6BhdRkqt3",
			`{"iss":"https://authorization-server.example.com/","sub":"5ba552d67","aud":"https://rs.example.com/","exp":1639528912,"iat":1618354090,"jti":"dbe39bf3a3ba4238a513f51d6e1691c4","client_id":"s6BhdRkqt3","scope":"openid profile reademail"}`},
		"RFC 7662 section 2.2": {1419350238, 1419356238, "https://protected.example.net/resource", "l238j323ds-23ij4",
			`{"active":true,"client_id":"l238j323ds-23ij4","username":"jdoe","scope":"read write dolphin","sub":"Z5O3upPC88QrAjx00dis","aud":"https://protected.example.net/resource","iss":"https://server.example.com/","exp":1419356238,"iat":1419350238,"extension_field":"twenty-seven"}`},
	} {
		t.Run(name, func(t *testing.T) {
			good := Settings{Audience: v.audience, Senders: []string{v.client}}
			for why, c := range map[string]struct {
				at int64
				s  Settings
			}{
				"no subscription ID":  {v.issued, good}, // all else is as it should be
				"in the future (iat)": {v.issued - 1, good},
				"has expired":         {v.expires, good},
				"another audience":    {v.issued, Settings{Audience: v.audience + "x", Senders: good.Senders}},
				"was not issued to":   {v.issued, Settings{Audience: v.audience, Senders: []string{"another"}}},
			} {
				if got := judged(t, c.at, c.s, v.claims); !strings.Contains(got, why) {
					t.Errorf("%q, want %q", got, why)
				}
			}
		})
	}
	r := &Receiver{cfg: Config{Settings: Settings{TokenType: "at+jwt", Algorithms: []string{"RS256"}}}}
	if algorithm, id, why := r.headerFault(members{"typ": []byte(`"at+JWT"`), "alg": []byte(`"RS256"`), "kid": []byte(`"RjEwOwOA"`)}); algorithm != "RS256" || id != "RjEwOwOA" || why != "" {
		t.Error("the header of RFC 9068 section 3:", algorithm, id, why)
	}
}

func TestTheSignatureOfStandardWebhooksIsVerified(t *testing.T) {
	const body = `{"test": 2432232314}`
	h := http.Header{"Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}}
	verify := func(ctx context.Context, body string) (err error) {
		r := &Receiver{cfg: Config{Settings: Settings{HandlerTimeout: time.Minute, Secrets: secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}}}
		return r.signed(ctx, h, fds.OwnerKey{}, "msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(body))
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(1614265330, 0)))
		if err := verify(t.Context(), body); err != nil {
			t.Error(err)
		}
		var refused *refusal
		if err := verify(t.Context(), body+" "); !errors.As(err, &refused) || refused.status != http.StatusUnauthorized {
			t.Error(err)
		}
	})
}
