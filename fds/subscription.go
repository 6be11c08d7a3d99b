package fds

import (
	"encoding"
	"fmt"
	"log/slog"
	"strings"

	"github.com/google/uuid"
)

// SubscriptionID identifies a resource owner at an information provider (W6).
// It is a UUID of version 4 and the RFC 4122 variant. Values compare with ==,
// serve as map keys, and are equal whichever way the ID was spelt. The zero
// value is no ID.
type SubscriptionID struct {
	value uuid.UUID
}

var (
	_ encoding.TextMarshaler   = SubscriptionID{}
	_ encoding.TextUnmarshaler = (*SubscriptionID)(nil)
	_ fmt.Stringer             = SubscriptionID{}
)

// ParseSubscriptionID reads the 36-character form
// xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx in upper, lower or mixed case. The urn:
// and braced forms and the form without hyphens, which other UUID parsers take,
// are refused: a provider and a broker compare the string, so there must be one
// way to write it. Errors match ErrSubscriptionID and say what is wrong.
func ParseSubscriptionID(s string) (SubscriptionID, error) {
	fail := func(format string, args ...any) (SubscriptionID, error) {
		return SubscriptionID{}, fmt.Errorf("fds: parse subscription ID %s: %w: %s", quoteBounded(s), ErrSubscriptionID, fmt.Sprintf(format, args...))
	}
	switch {
	case s == "":
		return fail("it is empty")
	case len(s) >= 4 && strings.EqualFold(s[:4], "urn:"):
		return fail("write it without urn:uuid:")
	case strings.HasPrefix(s, "{"):
		return fail("write it without braces")
	case len(s) != 36:
		return fail("a UUID has 36 characters, this has %d", len(s))
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return fail("it is not a UUID (32 hexadecimal digits in groups of 8-4-4-4-12)")
	}
	if id.Variant() != uuid.RFC4122 {
		return fail("its variant is not that of RFC 4122 (the 20th character must be 8, 9, a or b)")
	}
	if id.Version() != 4 {
		return fail("it is a UUID of version %d, FDS demands version 4", int(id.Version()))
	}
	return SubscriptionID{value: id}, nil
}

// NewSubscriptionID makes a random subscription ID. Information providers make
// IDs, client applications receive them.
func NewSubscriptionID() SubscriptionID {
	return SubscriptionID{value: uuid.New()}
}

// String spells the ID in lower case; the zero value has "".
func (id SubscriptionID) String() string {
	if id.IsZero() {
		return ""
	}
	return id.value.String()
}

// IsZero reports whether id is the zero value, which is no ID.
func (id SubscriptionID) IsZero() bool { return id == SubscriptionID{} }

// MarshalText spells the ID in lower case.
func (id SubscriptionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what ParseSubscriptionID reads.
func (id *SubscriptionID) UnmarshalText(text []byte) error {
	parsed, err := ParseSubscriptionID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// OwnerKey names a resource owner everywhere in this SDK: two providers may
// know the same subscription ID, so the issuer is part of the name. It compares
// with == and serves as a map key.
type OwnerKey struct {
	Issuer         string         `json:"issuer"` // the authorization server's issuer identifier (RFC 8414 section 2)
	SubscriptionID SubscriptionID `json:"subscription_id"`
}

// String is for people and logs: the subscription ID, then the issuer.
func (k OwnerKey) String() string { return k.SubscriptionID.String() + " at " + k.Issuer }

// LogValue is a group of issuer and subscription_id. In every log of this SDK its key
// is "owner".
func (k OwnerKey) LogValue() slog.Value {
	return slog.GroupValue(slog.String("issuer", k.Issuer), slog.String("subscription_id", k.SubscriptionID.String()))
}

// quoteBounded quotes s for an error text: escaped, so that a hostile value
// cannot forge a log line, and cut, so that it cannot flood one.
func quoteBounded(s string) string {
	const limit = 64
	if len(s) <= limit {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q (cut, %d bytes)", s[:limit], len(s))
}
