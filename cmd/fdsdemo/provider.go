package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fdstest"
)

func (p *program) providerCommand() *cobra.Command {
	var folder string
	c := &cobra.Command{
		Use:   "provider",
		Short: "Run an information provider in a box until Ctrl-C",
		Long:  "Runs an information provider on this machine until Ctrl-C: authorization server, Web API and\nMQTT broker, with made-up owners whose devices live. Prints the line \"ready\" on standard output\nwhen all of them listen.",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("dir") && folder == "" {
				return wrongUsage("--dir names no folder")
			}
			return untilSignal(c.Context(), p.provider(c.Context(), folder))
		},
	}
	c.Flags().StringVar(&folder, "dir", "", "write ca.pem, the owners' certificates and a ready fdsdemo.yaml to this `folder`, which is new, empty or of an earlier start")
	return c
}

func (p *program) provider(ctx context.Context, folder string) error {
	if folder != "" {
		if _, err := checkBox(folder); err != nil {
			return err
		}
	}
	box, err := fdstest.Start(fdstest.Options{Logger: p.logger(slog.LevelWarn)})
	if err != nil {
		return err
	}
	defer box.Close()
	if folder != "" {
		if err := writeBox(folder, box); err != nil {
			return fmt.Errorf("write to %s: %w", folder, err)
		}
	}
	p.tell("An FDS information provider in a box, on this machine only. Ctrl-C ends it.")
	p.tell("  authorization server  %s", box.Issuer())
	p.tell("  Web API               %s/fds/v2/", box.APIURL())
	p.tell("  MQTT broker           %s", box.BrokerURL())
	for _, o := range box.Owners() {
		p.tell("  owner                 %s  %s", o.Spelling, o.Name)
	}
	if folder != "" {
		config := filepath.Join(folder, configName)
		p.tell("In another terminal:")
		p.tell("  %s --config %s login", programName(), quoted(config))
		p.tell("  %s --config %s get specifications", programName(), quoted(config))
		p.tell("  %s --config %s watch", programName(), quoted(config))
		p.tell("The browser warns of the certificate: the box's authority is its own, see %s.", filepath.Join(folder, boxCA))
	} else {
		p.tell("With --dir DIR it writes a configuration that leads here.")
	}
	if err := p.write([]byte("ready\n")); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
