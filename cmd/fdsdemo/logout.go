package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fdsclient"
)

func (p *program) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout ID",
		Short: "Sign an owner out: revoke its grant and delete it",
		Args:  oneArgument("the subscription ID"),
		RunE:  func(c *cobra.Command, args []string) error { return p.logout(c.Context(), args[0]) },
	}
}

func (p *program) logout(ctx context.Context, text string) error {
	id, err := parseOwner(text)
	if err != nil {
		return err
	}
	client, err := p.open(ctx, slog.LevelError)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)
	owner, err := client.Owner(ctx, id)
	if errors.Is(err, fdsclient.ErrNoOwner) {
		return fmt.Errorf("%s %w; who is: %s", id, errNotSignedIn, p.invocation("owners"))
	}
	if err != nil {
		return err
	}
	if err := owner.SignOut(ctx); err != nil {
		return err
	}
	p.tell("%s is signed out.", id)
	return nil
}
