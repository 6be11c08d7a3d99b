package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/statestore"
)

func (p *program) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout OWNER",
		Short: "Sign an owner out: revoke its grant and delete it",
		Long:  "Signs an owner out: revokes its grant at the provider, deletes it here, and ends the broker's session, so\nthat no messages queue up for nobody. To end that it connects as the owner, which disconnects a watch of\nthis owner; such a watch of this machine says so, and so does logout.",
		Args:  oneArgument("the owner"),

		ValidArgsFunction: p.completeOwners,
		RunE:              func(c *cobra.Command, args []string) error { return p.logout(c.Context(), args[0]) },
	}
}

func (p *program) logout(ctx context.Context, text string) error {
	client, err := p.open(ctx, slog.LevelError)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	id, err := p.whoIs(ctx, client, text)
	if err != nil {
		return err
	}
	owner, err := p.owner(ctx, client, id)
	if errors.Is(err, fds.ErrNoOwner) && !errors.As(err, new(*damagedError)) {
		return fmt.Errorf("%s %w; who is: %s", id, errNotSignedIn, p.invocation("owners"))
	}
	if err != nil {
		return err
	}
	watching := new(statestore.ClaimedError)
	_ = errors.As(p.claimedElsewhere(ctx, owner.Key()), &watching)
	err = owner.SignOut(ctx)
	if held := new(fdsclient.SignOutError); errors.As(err, &held) && held.Deleted && held.SessionEnded && len(held.HeldBy) > 0 {
		return p.stillHeld(held)
	}
	if err != nil {
		return err
	}
	p.tell("%s is signed out.", id)
	if watching.PID != 0 {
		p.tell("Process %d, which watched this owner, is disconnected.", watching.PID)
	}
	return nil
}

// heldError says that an owner was signed out here, and that the grant lives on.
type heldError struct {
	text string
	err  *fdsclient.SignOutError
}

func (e *heldError) Error() string { return e.text }
func (e *heldError) Unwrap() error { return e.err }

// stillHeld says who holds the grant of one who signed out, and what follows.
func (p *program) stillHeld(e *fdsclient.SignOutError) error {
	var ids []fds.SubscriptionID
	for _, key := range e.HeldBy {
		ids = append(ids, key.SubscriptionID)
	}
	text := fmt.Sprintf("%s is signed out here, but %s signed in together with it and %s the grant still: by it the provider lets this application read the data of %[1]s until %[4]s signed out too; run: %s",
		e.Owner.SubscriptionID, names(ids), pick(len(ids) == 1, "holds", "hold"), pick(len(ids) == 1, "that one has", "they have"), p.invocation("logout "+ids[0].String()))
	return &heldError{text, e}
}
