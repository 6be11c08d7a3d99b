package tokenstore

import "context"

type unattendedKey struct{}

// Unattended marks a context whose work no person waits for, such as a renewal ahead
// of time. With it a store asks nobody for anything: where a keyring would have to
// show a prompt, the call fails with [fds.ErrStoreUnavailable] instead. See [Keyring] for how far
// that can be promised.
func Unattended(ctx context.Context) context.Context {
	return context.WithValue(ctx, unattendedKey{}, true)
}

// IsUnattended reports whether ctx comes from [Unattended].
func IsUnattended(ctx context.Context) bool { return ctx.Value(unattendedKey{}) != nil }
