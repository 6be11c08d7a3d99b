package tokenstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

// formatVersion goes up when an older version of this package must not touch a
// record any more. New members do not need that: older versions keep them.
const formatVersion = 1

// Encode writes the grant as a JSON object, secrets included: the one
// serialisation, for stores of your own too, which must encrypt it. It holds
// valid UTF-8 without control characters. Errors match [fds.ErrMalformed] (an empty
// key, text that is not UTF-8, a year beyond 9999) or [fds.ErrTooLarge].
func (g Grant) Encode() ([]byte, error) {
	fail := func(class, err error) ([]byte, error) {
		return nil, &Error{Op: "encode grant", Key: g.Key, Class: class, Err: err}
	}
	if _, class, err := encodeEntry(g.Entry()); err != nil {
		return fail(class, err)
	}
	members, err := encodeMembers(grantFields(&g), g.unknown)
	if err != nil {
		return fail(fds.ErrMalformed, err)
	}
	data, err := marshal(members)
	if err != nil {
		return fail(fds.ErrMalformed, jsonCause(err))
	}
	if len(data) > MaxGrantSize {
		return fail(fds.ErrTooLarge, fmt.Errorf("the grant has %d bytes, the bound is %d", len(data), MaxGrantSize))
	}
	return data, nil
}

// DecodeGrant reads what [Grant.Encode] wrote. Errors match [fds.ErrCorrupt],
// [fds.ErrNewerFormat] or [fds.ErrTooLarge].
func DecodeGrant(data []byte) (Grant, error) {
	var g Grant
	fail := func(class, err error) (Grant, error) {
		return Grant{}, &Error{Op: "decode grant", Key: g.Key, Class: class, Err: err}
	}
	if len(data) > MaxGrantSize {
		return fail(fds.ErrTooLarge, fmt.Errorf("the record has %d bytes, the bound is %d", len(data), MaxGrantSize))
	}
	if !utf8.Valid(data) {
		return fail(fds.ErrCorrupt, errNotUTF8)
	}
	// By way of a map: member names match exactly, and unknown ones are kept.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return fail(fds.ErrCorrupt, jsonCause(err))
	}
	var version int
	if err := json.Unmarshal(members["version"], &version); err != nil || version < 1 {
		return fail(fds.ErrCorrupt, errors.New("the record has no version number"))
	}
	if version > formatVersion {
		return fail(fds.ErrNewerFormat, fmt.Errorf("the record has version %d, this program knows %d", version, formatVersion))
	}
	rest, err := decodeMembers(grantFields(&g), members)
	if err != nil {
		return fail(fds.ErrCorrupt, err)
	}
	g.unknown = rest
	if _, _, err := encodeEntry(g.Entry()); err != nil {
		return fail(fds.ErrCorrupt, err)
	}
	return g, nil
}

// encodeMembers returns the fields' members, and those of unknown that are no field's.
func encodeMembers(fields []field, unknown fds.Secret) (map[string]json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	if !unknown.IsZero() {
		if err := json.Unmarshal([]byte(unknown.Reveal()), &members); err != nil {
			return nil, jsonCause(err)
		}
	}
	for _, f := range fields {
		raw, err := f.write()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if raw == nil {
			delete(members, f.name)
			continue
		}
		members[f.name] = raw
	}
	return members, nil
}

// decodeMembers reads the fields out of members and returns the rest as a JSON object.
func decodeMembers(fields []field, members map[string]json.RawMessage) (unknown fds.Secret, err error) {
	for _, f := range fields {
		raw, ok := members[f.name]
		if !ok {
			continue
		}
		if err := f.read(raw); err != nil {
			return fds.Secret{}, fmt.Errorf("member %q: %w", f.name, jsonCause(err))
		}
		delete(members, f.name)
	}
	if len(members) == 0 {
		return fds.Secret{}, nil
	}
	rest, err := marshal(members)
	if err != nil {
		return fds.Secret{}, jsonCause(err)
	}
	return fds.NewSecret(string(rest)), nil
}

// field is one member of the record.
type field struct {
	name  string
	write func() (json.RawMessage, error) // nil: leave the member out
	read  func(json.RawMessage) error
}

func grantFields(g *Grant) []field {
	return []field{
		{
			name:  "version",
			write: func() (json.RawMessage, error) { return marshal(formatVersion) },
			read:  func(json.RawMessage) error { return nil },
		},
		textField("issuer", &g.Issuer),
		textField("client_id", &g.ClientID),
		textField("grant_id", &g.GrantID),
		listField("subscriptions", &g.Subscriptions),
		listField("others", &g.Others),
		textField("grant_type", &g.GrantType),
		secretField("refresh_token", &g.RefreshToken),
		secretField("access_token", &g.AccessToken),
		textField("token_type", &g.TokenType),
		timeField("access_expiry", &g.AccessExpiry),
		timeField("refresh_expiry", &g.RefreshExpiry),
		listField("scopes", &g.Scopes),
		secretField("proof_key", &g.ProofKey),
		textField("certificate_thumbprint", &g.CertificateThumbprint),
		timeField("created", &g.Created),
		timeField("renewed", &g.Renewed),
		renewalField(g), // behind the refresh token, to which it is bound
	}
}

func textField(name string, p *string) field {
	return field{
		name: name,
		write: func() (json.RawMessage, error) {
			if *p == "" {
				return nil, nil
			}
			if !utf8.ValidString(*p) {
				return nil, errNotUTF8
			}
			return marshal(*p)
		},
		read: func(raw json.RawMessage) error { return json.Unmarshal(raw, p) },
	}
}

// valueField is a number or a boolean, left out when it is zero.
func valueField[T int | bool](name string, p *T) field {
	return field{
		name: name,
		write: func() (json.RawMessage, error) {
			var zero T
			if *p == zero {
				return nil, nil
			}
			return marshal(*p)
		},
		read: func(raw json.RawMessage) error { return json.Unmarshal(raw, p) },
	}
}

func secretField(name string, p *fds.Secret) field {
	text := p.Reveal()
	f := textField(name, &text)
	read := f.read
	f.read = func(raw json.RawMessage) error {
		if err := read(raw); err != nil {
			return err
		}
		*p = fds.NewSecret(text)
		return nil
	}
	return f
}

func listField(name string, p *[]string) field {
	return field{
		name: name,
		write: func() (json.RawMessage, error) {
			if len(*p) == 0 {
				return nil, nil
			}
			if slices.ContainsFunc(*p, func(s string) bool { return !utf8.ValidString(s) }) {
				return nil, errNotUTF8
			}
			return marshal(*p)
		},
		read: func(raw json.RawMessage) error {
			if err := json.Unmarshal(raw, p); err != nil {
				return err
			}
			if len(*p) == 0 {
				*p = nil
			}
			return nil
		},
	}
}

func timeField(name string, p *time.Time) field {
	return field{
		name: name,
		write: func() (json.RawMessage, error) {
			if p.IsZero() {
				return nil, nil
			}
			return marshal(p.UTC())
		},
		read: func(raw json.RawMessage) error {
			if err := json.Unmarshal(raw, p); err != nil {
				return err
			}
			*p = p.UTC()
			return nil
		},
	}
}

var errNotUTF8 = errors.New("it is not valid UTF-8")

// jsonCause says what a JSON error is about without what the record holds: the
// library's texts name values and characters.
func jsonCause(err error) error {
	if s, ok := err.(*json.SyntaxError); ok {
		return fmt.Errorf("not JSON at byte %d", s.Offset)
	}
	if t, ok := err.(*json.UnmarshalTypeError); ok {
		return fmt.Errorf("a value of the wrong type, %s expected", t.Type)
	}
	return errors.New("a malformed value")
}

// marshal is json.Marshal without the escaping meant for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
