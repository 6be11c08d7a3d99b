package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// Grants of many owners, in a folder of encrypted files. A Client of package fdsclient takes the
// folder as its Store, and does all the rest.
func ExampleOpenFolder() {
	dir, err := os.MkdirTemp("", "grants")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store, err := tokenstore.OpenFolder(ctx, tokenstore.FolderConfig{
		Path:       filepath.Join(dir, "grants"), // is made
		Passphrase: fds.NewSecret("correct horse battery staple"),
	})
	if err != nil {
		log.Fatal(err)
	}
	key := tokenstore.Key{Issuer: "https://auth.example.com", ClientID: "fleet-app", GrantID: "1"}
	_, err = store.Save(ctx, tokenstore.Grant{
		Key:           key,
		Subscriptions: []string{"9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4f"},
		RefreshToken:  fds.NewSecret("r1"),
	})
	if err != nil {
		log.Fatal(err)
	}

	for entry, err := range store.List(ctx) { // decrypts nothing
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(entry.GrantID, entry.Subscriptions)
	}
	grant, err := store.Load(ctx, key)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(grant.RefreshToken, "is", grant.RefreshToken.Reveal())
	// Output:
	// 1 [9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4f]
	// [redacted] is r1
}

// A renewal, in the steps that lose no refresh token whatever ends in between.
func ExampleStore() {
	var store tokenstore.Store = tokenstore.OpenMemory()
	ctx := context.Background()
	key := tokenstore.Key{Issuer: "https://auth.example.com", ClientID: "fleet-app", GrantID: "1"}
	_, err := store.Save(ctx, tokenstore.Grant{Key: key, RefreshToken: fds.NewSecret("r1")}) // at the sign-in
	if err != nil {
		log.Fatal(err)
	}

	renew := func() error {
		lease, err := store.Lock(ctx, key) // nobody else renews meanwhile
		if err != nil {
			return err
		}
		defer lease.Release()
		grant, err := store.Load(ctx, key) // under the lock: somebody may have renewed it
		if err != nil {
			return err
		}
		grant.Renewal = tokenstore.Renewal{By: "host/42", Since: time.Now(), Sent: 1}
		if grant.Revision, err = store.Reserve(ctx, grant); err != nil {
			return err // no room for the answer: the server is not asked
		}
		access, refresh := "a2", "r2" // what the token endpoint answers; r1 is spent now
		grant.AccessToken, grant.RefreshToken = fds.NewSecret(access), fds.NewSecret(refresh)
		grant.Renewal = tokenstore.Renewal{}
		_, err = store.Save(ctx, grant) // before the access token is used
		return err
	}
	if err := renew(); err != nil {
		log.Fatal(err)
	}
	grant, err := store.Load(ctx, key)
	fmt.Println(grant.RefreshToken.Reveal(), err)
	// Output: r2 <nil>
}

// From the keyring of a desktop, which suits a few owners, to a folder for many.
func ExampleMove() {
	keyring, folder := tokenstore.OpenMemory(), tokenstore.OpenMemory() // stand for those two
	ctx := context.Background()
	key := tokenstore.Key{Issuer: "https://auth.example.com", ClientID: "fleet-app", GrantID: "1"}
	if _, err := keyring.Save(ctx, tokenstore.Grant{Key: key}); err != nil {
		log.Fatal(err)
	}
	moved, err := tokenstore.Move(ctx, keyring, folder) // no application may use the keyring any more
	fmt.Println(moved, err)
	_, err = keyring.Load(ctx, key)
	fmt.Println(errors.Is(err, fds.ErrNoGrant))
	// Output:
	// 1 <nil>
	// true
}
