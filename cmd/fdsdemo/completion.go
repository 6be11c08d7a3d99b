package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func (p *program) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script by which a shell completes what is typed: " + strings.Join(shells, ", "),
		Long: `Print a script by which a shell completes commands, flags, kinds, owners, contexts and keys of the
file. It reads the configuration, runs nothing that it names, and never opens a keyring or a key. To have it in each new shell:

  bash        fdsdemo completion bash > ~/.local/share/bash-completion/completions/fdsdemo
              (needs the package bash-completion; on macOS, Homebrew's bash-completion@2)
  zsh         fdsdemo completion zsh > "${fpath[1]}/_fdsdemo"
  fish        fdsdemo completion fish > ~/.config/fish/completions/fdsdemo.fish
  powershell  fdsdemo completion powershell >> $PROFILE`,
		Args:      oneArgument("the shell"),
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(writer{p}, true)
			case "zsh":
				return root.GenZshCompletion(writer{p})
			case "fish":
				return root.GenFishCompletion(writer{p}, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(writer{p})
			}
			return wrongUsage("there is no script for %q; there is one for %s%s", args[0], strings.Join(shells, ", "), meant(args[0], shells))
		},
	}
}

// completeOwners completes owners by the names of the configuration and by the certificates that
// lie in files. Those who are signed in only the store of grants knows, for which a key may be
// needed.
func (p *program) completeOwners(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	d, err := p.document()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	path, file := d.path, d.file
	var all []cobra.Completion
	named := make(map[fds.SubscriptionID]bool)
	for name, text := range file.Owners {
		id, err := fds.ParseSubscriptionID(text)
		if err != nil {
			continue
		}
		named[id] = true
		if name == terminal.Escape(name) && !strings.ContainsAny(name, " \t") {
			all = append(all, cobra.CompletionWithDesc(name, id.String()))
		}
	}
	if folder := file.Push.Certificates; folder != "" {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(filepath.Dir(path), folder)
		}
		entries, _ := os.ReadDir(folder) // what is not there completes nothing
		for _, e := range entries[:min(len(entries), 1000)] {
			name := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))
			if id, err := fds.ParseSubscriptionID(name); err == nil && !named[id] {
				named[id], all = true, append(all, name)
			}
		}
	}
	slices.Sort(all)
	return all, cobra.ShellCompDirectiveNoFileComp
}

// completes has the shell complete the values of a flag.
func completes(c *cobra.Command, flag string, by cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, by); err != nil {
		panic(err) // there is no such flag
	}
}

// filesComplete is for arguments that are files.
var filesComplete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)

// completeFiles has the shell offer files for flags that take them, and for nothing else that has
// no completion of its own.
func completeFiles(root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	eachFlag(root, func(c *cobra.Command, f *pflag.Flag) {
		if _, known := c.GetFlagCompletionFunc(f.Name); known {
			return
		}
		switch what, _ := pflag.UnquoteUsage(f); what {
		case "file":
			completes(c, f.Name, filesComplete)
		case "folder":
			completes(c, f.Name, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
		}
	})
}

// unquoteUsages takes the marks of values out of what shells show of flags.
func unquoteUsages(root *cobra.Command) {
	eachFlag(root, func(_ *cobra.Command, f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
}

// eachFlag calls do for each flag of a command and of all below it, with the command that has it.
func eachFlag(c *cobra.Command, do func(*cobra.Command, *pflag.Flag)) {
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) { do(c, f) })
	for _, sub := range c.Commands() {
		eachFlag(sub, do)
	}
}

// completeKinds completes the kinds of get.
func completeKinds(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return kindNames(), cobra.ShellCompDirectiveNoFileComp
}
