package statestore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
)

// A record that two consumers change: none overwrites what it has not seen. A Client of package
// fdsclient takes the folder as its State, and does all of this.
func Example() {
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := statestore.OpenFolder(filepath.Join(dir, "state"))
	if err != nil {
		log.Fatal(err)
	}
	id, err := fds.ParseSubscriptionID("9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4f")
	if err != nil {
		log.Fatal(err)
	}
	owner := fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: id}
	key := statestore.Key{ClientID: "fleet-app", Owner: owner, Name: "position"}
	ctx := context.Background()

	record, err := store.Load(ctx, key) // there is none yet
	if err != nil {
		log.Fatal(err)
	}
	revision, err := store.Save(ctx, key, []byte(`{"handled":1}`), record.Revision)
	if err != nil {
		log.Fatal(err)
	}
	_, err = store.Save(ctx, key, []byte(`{"handled":0}`), record.Revision) // of one who has not seen that
	fmt.Println("conflict:", errors.Is(err, fds.ErrConflict))
	if _, err = store.Save(ctx, key, []byte(`{"handled":2}`), revision); err != nil {
		log.Fatal(err)
	}
	record, err = store.Load(ctx, key)
	fmt.Println(string(record.Data), err)
	// Output:
	// conflict: true
	// {"handled":2} <nil>
}

// One consumer at a time has an owner, among all processes that use the folder.
func ExampleClaimer() {
	var store statestore.Claimer = &statestore.Memory{}
	owner := fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: fds.NewSubscriptionID()}
	ctx := context.Background()
	release, err := store.Claim(ctx, owner)
	if err != nil {
		log.Fatal(err)
	}
	_, err = store.Claim(ctx, owner)
	var claimed *statestore.ClaimedError
	fmt.Println("claimed by this process:", errors.As(err, &claimed) && claimed.PID == os.Getpid())
	release()
	release, err = store.Claim(ctx, owner)
	if err != nil {
		log.Fatal(err)
	}
	defer release()
	fmt.Println("claimed again")
	// Output:
	// claimed by this process: true
	// claimed again
}
