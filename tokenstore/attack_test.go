package tokenstore

import "testing"

// Where two keys had one name, an application that chooses its grant IDs could make
// one that takes the place of another's grant, or its lock.
func TestAttackKeysThatReadAlikeHaveNamesOfTheirOwn(t *testing.T) {
	var parts []string
	letters := []string{"1", "2", ":", "a"}
	for _, a := range letters {
		parts = append(parts, a)
		for _, b := range letters {
			parts = append(parts, a+b)
		}
	}
	for _, a := range []string{"a:a:a", "1:a1:a", "a\x00a", "a/a", "a,a", "a a", "a|a", "a\na", "a\"a"} {
		parts = append(parts, a, a[:1], a[2:], a+a[1:])
	}
	seen := map[string]Key{}
	for _, issuer := range parts {
		for _, client := range parts {
			for _, grant := range parts {
				key := Key{issuer, client, grant}
				if other, taken := seen[key.hash()]; taken && other != key {
					t.Fatalf("%q and %q have one name", key, other)
				}
				seen[key.hash()] = key
			}
		}
	}
}
