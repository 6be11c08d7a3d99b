package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

// pager shows what a command prints on a terminal by a program with which a person can go back in
// it. The program is started by the first data, so that it shows nothing where there is none, and
// what is told meanwhile is told after it.
type pager struct {
	command string
	out     io.Writer
	err     io.Writer // told afterwards

	mu      sync.Mutex
	started bool
	program *exec.Cmd // nil: there is none, and data go to out
	in      io.WriteCloser
	left    bool // it took no more
	broken  bool // it cannot be run
	held    strings.Builder
}

// addPager adds the flag to a command whose output may be long, and gives it the pager.
func (p *program) addPager(c *cobra.Command) {
	none := c.Flags().Bool("no-pager", false, "print all at once; by default on a terminal "+pagerVariable+", PAGER or less shows it")
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		defer p.page(c.Context(), *none)()
		return run(c, args)
	}
}

const pagerVariable = "FDSDEMO_PAGER"

// page puts a pager before standard output, if that is a terminal, until end is called.
func (p *program) page(ctx context.Context, none bool) (end func()) {
	command := pagerCommand(os.LookupEnv, runtime.GOOS)
	if none || command == "" || p.outStyle.Width == 0 || p.verbose || p.trace {
		return func() {}
	}
	g := &pager{command: command, out: p.out, err: p.err}
	p.pager, p.out = g, pagerOutput{g}
	if p.errStyle.Width > 0 { // what is told would be written over the pages
		p.err = pagerErrors{g}
	}
	return func() {
		p.out, p.err = g.out, g.err
		if g.end(ctx); g.broken {
			p.tell("fdsdemo: warning: the pager %q cannot be run; set %s, or add --no-pager", terminal.Short(g.command), pagerVariable)
		}
	}
}

// pagerCommand returns what shows pages; "": nothing does. As git has it, an empty variable, or
// cat, means none.
func pagerCommand(getenv func(string) (string, bool), system string) string {
	if term, _ := getenv("TERM"); term == "dumb" || term == "" && system != "windows" {
		return ""
	}
	for _, name := range []string{pagerVariable, "PAGER"} {
		if command, ok := getenv(name); ok {
			if command = strings.TrimSpace(command); command == "cat" {
				return ""
			}
			return command
		}
	}
	if system == "windows" { // whose more knows no colours
		return ""
	}
	return defaultPager
}

const defaultPager = "less"

// start starts the program. g.mu is held. Without it data are printed as they are.
func (g *pager) start() {
	g.started = true
	words := strings.Fields(g.command)
	if _, err := exec.LookPath(words[0]); err != nil && !strings.ContainsAny(words[0], "=$\"'`\\") {
		if g.command != defaultPager {
			g.broken = true
		}
		return
	}
	c := exec.Command("sh", "-c", g.command)
	if runtime.GOOS == "windows" {
		c = exec.Command(words[0], words[1:]...)
	}
	c.Env = os.Environ()
	for _, option := range [][2]string{{"LESS", "FRX"}, {"LV", "-c"}} { // what the person has set goes first
		if _, ok := os.LookupEnv(option[0]); !ok {
			c.Env = append(c.Env, option[0]+"="+option[1])
		}
	}
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	in, err := c.StdinPipe()
	if err == nil && c.Start() == nil {
		g.program, g.in = c, in
	}
}

// end waits for the person to have seen enough, and says what was told meanwhile.
func (g *pager) end(ctx context.Context) {
	g.mu.Lock()
	program := g.program
	g.mu.Unlock()
	if program != nil {
		if ctx.Err() != nil { // Ctrl-C is for the pager now
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, os.Interrupt)
			defer signal.Stop(signals)
		}
		_ = g.in.Close()
		_ = program.Wait() // its status says nothing of this command
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	const notRun = 126 // or more: of the shell (POSIX, exit status for commands)
	if program != nil && program.ProcessState.ExitCode() >= notRun {
		g.left, g.broken = false, true
	}
	g.program = nil
	_, _ = io.WriteString(g.err, g.held.String())
	g.held.Reset()
}

// hasLeft reports whether the person ended the pager before all was shown.
func (g *pager) hasLeft() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

// pagerOutput is standard output.
type pagerOutput struct{ *pager }

func (o pagerOutput) Write(data []byte) (int, error) {
	g := o.pager
	g.mu.Lock()
	if !g.started {
		g.start()
	}
	program := g.program
	g.mu.Unlock()
	if program == nil {
		return g.out.Write(data)
	}
	n, err := g.in.Write(data)
	if err != nil {
		g.mu.Lock()
		g.left = g.left || isAny(err, brokenPipes...) || errors.Is(err, os.ErrClosed)
		g.mu.Unlock()
	}
	return n, err
}

// pagerErrors is standard error.
type pagerErrors struct{ *pager }

func (o pagerErrors) Write(data []byte) (int, error) {
	g := o.pager
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.program == nil {
		return g.err.Write(data)
	}
	return g.held.Write(data)
}
