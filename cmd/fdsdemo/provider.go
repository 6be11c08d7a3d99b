package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fdstest"
)

// providerSettings are what the provider in a box is told.
type providerSettings struct {
	folder       string   // "": nothing is written
	portBase     int      // 0: those of the folder, or any
	redirectURIs []string // besides those that it has
	confidential bool     // the configuration signs in as the application with a secret
	every        time.Duration

	webhook         string // where what is published is sent to as well; "": nowhere
	webhookAudience string // "": the URL without its query
}

func (p *program) providerCommand() *cobra.Command {
	var s providerSettings
	c := &cobra.Command{
		Use:   "provider",
		Short: "Run an information provider in a box until Ctrl-C",
		Long: "Runs an information provider on this machine until Ctrl-C: authorization server, Web API and\nMQTT broker, with made-up owners whose devices live. Prints the line \"ready\" on standard output\n" +
			"when all of them listen.\n\n" +
			"With --dir it goes on where the provider before it in that folder ended, even if that was killed:\nat the same addresses, with the same keys, owners, applications, grants, devices, events and MQTT\n" +
			"sessions. Of events and sessions the last second may be missing, of grants and tags nothing. A port\nthat is taken is an error: another one would be another provider to those who are signed in.\n\n" +
			"Two applications are registered: fdsdemo, without a secret, and fleet-app, with that in\nDIR/client_secret.txt. DIR/localhost.pem and DIR/localhost.key are for a web server of yours at\nhttps://localhost.\n\n" +
			"With --webhook what is published of owners who have signed in is sent to that URL too, by POST with\nan access token for it, and is tried again until it is acknowledged or this ends; after 403 and the\nlike (4xx but 401, 408 and 429) three times, and after 410 nothing is sent any more. How deliveries\nfare is told now and then. DIR/fdsdemo.yaml has a server take them.\n\n" +
			"A tag is made of a JSON object with an object generic and without entities, of at most 64 KiB; it\ngets a tag_id if it has none. Entities are an array of IDs of devices and spaces, or of objects\nwith a device_id or space_id.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case s.confidential && s.folder == "":
				return wrongUsage("--confidential is about the configuration that --dir writes; add --dir")
			case c.Flags().Changed("port-base") && (s.portBase < 1 || s.portBase > 65533):
				return wrongUsage("--port-base is %d; it and the next two are ports, so it is between 1 and 65533", s.portBase)
			}
			if err := s.checkWebhook(c.Flags().Changed("webhook")); err != nil {
				return err
			}
			if s.every <= 0 {
				return wrongUsage("--every is %v; it is a time such as 500ms", s.every)
			}
			return untilSignal(c.Context(), p.provider(c.Context(), s))
		},
	}
	f := c.Flags()
	f.StringVar(&s.folder, "dir", "", "keep the provider in this `folder`, new, empty or of an earlier start, with ca.pem, the owners' certificates and a ready fdsdemo.yaml")
	f.IntVar(&s.portBase, "port-base", 0, "`port` of the authorization server; the Web API and the broker have the next two (default those of the folder, or any)")
	f.StringArrayVar(&s.redirectURIs, "redirect-uri", nil, "a further redirect `URI` of both applications, as https://localhost:8443/callback; may be repeated")
	f.DurationVar(&s.every, "every", 500*time.Millisecond, "`time` between two movements of a device")
	f.StringVar(&s.webhook, "webhook", "", "send what is published of owners who have signed in to this `URL` too, as "+defaultWebhook+" where fdsdemo webhook listens; {subscription_id} in it is the owner's")
	f.StringVar(&s.webhookAudience, "webhook-audience", "", "`audience` of the sender's access tokens (default the URL without its query)")
	f.BoolVar(&s.confidential, "confidential", false, "have fdsdemo.yaml sign in as the application with a secret; it is for this start alone")
	return c
}

// start starts the provider, with what was kept of it.
func (s providerSettings) start(log *slog.Logger) (*fdstest.Provider, error) {
	options := fdstest.Options{Logger: log, LifeInterval: s.every}
	if s.folder != "" {
		options.Dir = filepath.Join(s.folder, boxKept)
	}
	if s.portBase != 0 {
		options.AuthorityPort, options.APIPort, options.BrokerPort = s.portBase, s.portBase+1, s.portBase+2
	}
	box, err := fdstest.Start(options)
	if errors.Is(err, fdstest.ErrPort) {
		return nil, fmt.Errorf("%w: --port-base chooses them, and everyone has to sign in again", err)
	}
	if err != nil {
		return nil, err
	}
	for _, a := range []fdstest.Application{box.PublicApplication(), box.ConfidentialApplication()} {
		known := len(a.RedirectURIs)
		for _, uri := range s.redirectURIs {
			if !slices.Contains(a.RedirectURIs, uri) {
				a.RedirectURIs = append(a.RedirectURIs, uri)
			}
		}
		if len(a.RedirectURIs) == known {
			continue
		}
		if err := box.AddClient(a); err != nil {
			box.Close()
			return nil, wrongUsage("--redirect-uri: %v", err)
		}
	}
	return box, nil
}

func (p *program) provider(ctx context.Context, s providerSettings) error {
	if s.folder != "" {
		if err := prepareBox(s.folder); err != nil {
			return err
		}
	}
	box, err := s.start(p.logger(slog.LevelWarn))
	if err != nil {
		return err
	}
	defer box.Close()
	if s.folder != "" {
		if err := writeBox(s.folder, box, s); err != nil {
			return fmt.Errorf("write to %s: %w", s.folder, err)
		}
	}
	p.tell("An FDS information provider in a box, on this machine only. Ctrl-C ends it.")
	p.tell("  authorization server  %s", box.Issuer())
	p.tell("  Web API               %s/fds/v2/", box.APIURL())
	p.tell("  MQTT broker           %s", box.BrokerURL())
	for _, o := range box.Owners() {
		p.tell("  owner                 %s  %s", o.Spelling, o.Name)
	}
	if s.folder != "" {
		config := filepath.Join(s.folder, configName)
		p.tell("In another terminal:")
		p.tell("  %s --config %s login", programName(), quoted(config))
		p.tell("  %s --config %s get specifications", programName(), quoted(config))
		p.tell("  %s --config %s watch", programName(), quoted(config))
		if s.webhook != "" {
			p.tell("  %s --config %s webhook", programName(), quoted(config))
		}
		p.tell("Started again with this --dir it goes on where it ended.")
		p.tell("The browser warns of the certificate: the box's authority is its own, see %s.", filepath.Join(s.folder, boxCA))
	} else {
		p.tell("With --dir DIR it writes a configuration that leads here.")
	}
	sent := make(chan struct{})
	if s.webhook != "" {
		sender, err := s.sendTo(ctx, box)
		if err != nil {
			return err
		}
		p.tell("Sends what is published of owners who have signed in to %s, too.", s.webhook)
		go func() {
			defer close(sent)
			p.tellDeliveries(ctx, sender)
		}()
	} else {
		close(sent)
	}
	if err := p.write([]byte("ready\n")); err != nil {
		return err
	}
	<-ctx.Done()
	<-sent
	return nil
}
