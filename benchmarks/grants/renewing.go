package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/oauth2"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// renewing measures a renewal whose answer is on disk before its token is given out, of
// one owner, one after the other. x/oauth2 asks the same server and keeps nothing.
func renewing(o options, out *tabwriter.Writer) error {
	renewals := time.Duration(o.renewals)
	filler := strings.Repeat("x", tokenBytes)
	var issued atomic.Int64
	s := newServer(func(w http.ResponseWriter, r *http.Request) {
		n := issued.Add(1)
		w.Header().Set("Content-Type", "application/json")
		// A lifetime that is over at once: the next call renews again.
		fmt.Fprintf(w, `{"access_token":"a%d%s","refresh_token":"r%d%s","token_type":"Bearer","expires_in":1}`, n, filler, n, filler)
	})
	defer s.Close()
	folder, err := os.MkdirTemp("", "grants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()
	store, err := tokenstore.OpenFolder(ctx, tokenstore.FolderConfig{Path: folder, Passphrase: fds.NewSecret("benchmark")})
	if err != nil {
		return err
	}
	grant := s.grant(0, -time.Minute)
	if _, err := store.Save(ctx, grant); err != nil {
		return err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.Client())
	config := oauth2.Config{ClientID: "benchmark", Endpoint: oauth2.Endpoint{TokenURL: s.URL + "/token", AuthStyle: oauth2.AuthStyleInParams}}
	source := config.TokenSource(ctx, &oauth2.Token{RefreshToken: "x", Expiry: time.Now().Add(-time.Minute)})

	var ours, theirs time.Duration
	for range renewals {
		// A client of its own each time, which finds an expired token.
		client, err := s.client(store)
		if err != nil {
			return err
		}
		owners, err := client.Owners(ctx)
		if err != nil {
			return err
		}
		start := time.Now()
		if _, err := owners[0].Token(ctx); err != nil {
			return err
		}
		ours += time.Since(start)
		if err := client.Close(); err != nil {
			return err
		}
		stored, err := store.Load(ctx, grant.Key)
		if err != nil {
			return err
		}
		stored.AccessExpiry = time.Now().Add(-time.Minute)
		if _, err := store.Save(ctx, stored); err != nil {
			return err
		}
		start = time.Now()
		if _, err := source.Token(); err != nil {
			return err
		}
		theirs += time.Since(start)
	}
	fmt.Fprintf(out, "renewal, on disk before it is used\t%v\t%v, not kept\t%.1f\n", (ours / renewals).Round(time.Microsecond), (theirs / renewals).Round(time.Microsecond), ours.Seconds()/theirs.Seconds())
	return nil
}
