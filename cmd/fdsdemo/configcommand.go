package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Show and change the configuration",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return wrongUsage("there is no command %q; see: fdsdemo config --help%s", "config "+args[0], meant(args[0], commandsOf(c)))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			return wrongUsage("config needs one of its commands %s; see: fdsdemo config --help", strings.Join(commandsOf(c), ", "))
		},
	}
	c.AddCommand(p.showCommand(), p.getConfigCommand(), p.setConfigCommand(), p.unsetCommand(), p.pathCommand(), p.contextsCommand(), p.useCommand(), p.referenceCommand())
	return c
}
