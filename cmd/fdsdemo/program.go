package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// program is what all commands share: the outputs and the global flags.
type program struct {
	out      io.Writer // data
	err      io.Writer // everything else
	outFile  *os.File  // out where nothing is put before it
	outStyle terminal.Style
	errFile  *os.File
	errStyle terminal.Style

	config  string // a file
	context string // or the name of a configuration
	plain   bool   // messages are lines, also on a terminal

	verbose, trace bool
	logFormat      string
	jsonErr        bool       // standard error is JSON, see settle
	saying         sync.Mutex // held while a line of JSON is written there

	settings fdsclient.Config // in use, as open has read them
	endpoint endpoint
	signIn   fdsclient.SignInOptions
	names    map[string]fds.SubscriptionID // of owners, as the configuration has them
	forgets  bool                          // the store ends with the process
	boxed    bool                          // the provider is one in a box, see isBox
	looks    bool                          // open makes a client that only looks, see configuration.look
	pager    *pager                        // before standard output; nil: none is
	began    time.Time                     // when messages began to be shown; what is older is a backlog
	ending   atomic.Bool                   // the command ends, and if it has failed it says why then

	damaged damaged
	grants  string // where the stored grants are, for a person

	tells func(message string, err error) bool // what the command tells in its own words, so that the log need not; nil: nothing
}

func newProgram(out, err *os.File) *program {
	return &program{out: out, err: err, outFile: out, errFile: err, outStyle: terminal.StyleOf(out), errStyle: terminal.StyleOf(err)}
}

// command makes the command line.
func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "fdsdemo",
		Short:         "See the Facility Data Standard at work",
		Long:          "fdsdemo shows the Facility Data Standard at work. Without a command it gives a tour,\nwith a provider of its own on this machine. The commands work with a real provider,\nas the configuration file names it.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	info, _ := debug.ReadBuildInfo()
	root.Version = buildOf(info).String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.InitDefaultVersionFlag()
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if wrong := new(pflag.InvalidValueError); errors.As(err, &wrong) && isValueKind(wrong.GetFlag().Value.Type()) {
			return wrongUsage("--%s is %q; needed is %s; see: %s --help", wrong.GetFlag().Name, terminal.Short(wrong.GetValue()), kindNeeded(wrong.GetFlag().Value.Type()), c.CommandPath())
		}
		return wrongUsage("%v; see: %s --help%s", err, c.CommandPath(), meantFlag(c, err))
	})
	root.PersistentFlags().StringVar(&p.config, "config", "", "configuration `file` (default fdsdemo.yaml in the user's configuration folder, or "+configVariable+")")
	root.PersistentFlags().StringVar(&p.context, "context", "", "or the `name` of one, as config contexts lists them (default what config use has chosen, or "+namedVariable+")")
	completes(root, "context", func(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeContexts(c, nil, typed)
	})
	p.addSaying(root)
	p.addTour(root)
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if c.Name() == cobra.ShellCompRequestCmd {
			unquoteUsages(root)
		}
		if flag := emptyFlag(c); flag != "" {
			return wrongUsage("--%s is empty; see: %s --help", flag, c.CommandPath())
		}
		if c.Flags().Changed("context") {
			if p.config != "" {
				return wrongUsage("choose one of --config, --context")
			}
			if _, err := contextOf(p.context, "--context"); err != nil {
				return err
			}
		}
		return p.settle(c)
	}
	root.SetHelpCommand(helpCommand(root))
	root.AddCommand(p.initCommand(), p.providerCommand(), p.loginCommand(), p.logoutCommand(), p.ownersCommand(), p.getCommand(), p.spacesCommand(), p.tagCommand(), p.watchCommand(), p.webhookCommand(), p.checkCommand(), p.brokerConfigCommand(), p.configCommand(), p.completionCommand(), p.manCommand(), p.versionCommand())
	completeFiles(root)
	return root
}

// helpCommand is cobra's, but for a command that there is not it fails.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return wrongUsage("there is no command %q; see: fdsdemo --help%s", strings.Join(args, " "), meant(args[0], commandsOf(c)))
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	}
}

// emptyFlag returns the name of a flag that was given without a value, or "".
func emptyFlag(c *cobra.Command) (name string) {
	c.Flags().Visit(func(f *pflag.Flag) {
		list, isList := f.Value.(pflag.SliceValue)
		switch {
		case !isList && f.Value.String() == "", isList && len(list.GetSlice()) == 0:
			name = f.Name
		case f.Value.Type() == "stringArray" && slices.Contains(list.GetSlice(), ""): // each is a flag of its own
			name = f.Name
		}
	})
	return name
}

// commandOf is what a command is called behind the name of this program, with which errors begin.
func commandOf(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

// noArguments refuses arguments.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongUsage("%s takes no argument %q; see: %s --help", commandOf(c), args[0], c.CommandPath())
	}
	return nil
}

// oneArgument wants exactly one.
func oneArgument(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return wrongUsage("%s takes one argument, %s; see: %s --help", commandOf(c), name, c.CommandPath())
		}
		return nil
	}
}

// ofOwner has an error name the owner.
func ofOwner(err error, owner *fdsclient.Owner) error {
	return ofSubscription(err, owner.Key().SubscriptionID)
}

func ofSubscription(err error, id fds.SubscriptionID) error {
	if err == nil || strings.Contains(err.Error(), id.String()) {
		return err
	}
	return fmt.Errorf("%w (subscription %s)", err, id)
}

// load reads and checks the configuration.
func (p *program) load(ctx context.Context, level slog.Level) (*configuration, error) {
	d, err := p.document()
	if err != nil {
		return nil, err
	}
	return d.load(ctx, p.logger(level), runCommand(p.err))
}

// open checks the configuration and makes the client; the caller closes it.
func (p *program) open(ctx context.Context, level slog.Level, hooks ...any) (*fdsclient.Client, error) {
	c, err := p.load(ctx, level)
	if err != nil {
		return nil, err
	}
	if p.looks {
		unkept, err := c.look(ctx)
		if err != nil {
			return nil, err
		}
		if unkept != nil {
			p.tell("fdsdemo: warning: what is shown is not remembered: %v; set push.state_folder to a folder of this user's own", unkept)
		}
	}
	if c.client.Store, err = c.store(ctx); err != nil {
		return nil, err
	}
	_, p.forgets = c.client.Store.(*tokenstore.Memory)
	c.client.Hooks = append(append(hooks, &p.damaged), p.tap(p.logger(level))...)
	p.grants = c.grants
	p.settings, p.signIn, p.endpoint, p.names, p.boxed = c.client, c.signIn, c.endpoint, c.names, c.boxed
	return fdsclient.New(c.client)
}

// closingQuietly is how long it takes to close a client of which nothing is told.
const closingQuietly = 2 * time.Second

// close ends a client. It waits for the answer to a renewal that is under way, whose
// refresh token would be lost with it; signals ends with the first signal.
func (p *program) close(signals context.Context, client io.Closer) {
	timer := time.AfterFunc(closingQuietly, func() {
		end := "Ctrl-C twice ends"
		if signals.Err() != nil {
			end = "a second Ctrl-C ends"
		}
		p.tell("fdsdemo: waiting for the provider's answer, without which an owner may have to sign in again; %s at once", end)
	})
	defer timer.Stop()
	_ = client.Close() // what it could not keep is logged
}
