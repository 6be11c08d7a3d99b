package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
)

// asks reports whether there is a person to ask: one who sees what is told, and can type.
func (p *program) asks() bool {
	return p.errStyle.Width > 0 && !p.jsonErr && terminal.Is(os.Stdin)
}

// confirm asks a question whose answer is no, unless the person says yes.
func (p *program) confirm(ctx context.Context, question string) (yes bool, err error) {
	a := p.asker()
	line, err := within(ctx, func() { fmt.Fprint(a.out, question+" [y/N] ") }, func() (string, error) {
		line, _ := a.lines.ReadString('\n') // that it ends is no yes
		return line, nil
	})
	if !strings.HasSuffix(line, "\n") {
		fmt.Fprintln(a.out)
	}
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes", err
}

// asker asks a person at a terminal, see asks. Each question ends with its context too.
type asker struct {
	in    *os.File
	lines *bufio.Reader
	out   io.Writer
}

func (p *program) asker() *asker {
	return &asker{in: os.Stdin, lines: bufio.NewReader(io.LimitReader(os.Stdin, maxPasted)), out: p.err}
}

// errInputEnded says that standard input has ended.
var errInputEnded = errors.New("standard input has ended; nothing was written")

// line asks for a line; an empty one is the preset.
func (a *asker) line(ctx context.Context, question, preset string) (string, error) {
	if preset != "" {
		question += " [" + terminal.Escape(preset) + "]"
	}
	answer, err := within(ctx, func() { fmt.Fprint(a.out, question+": ") }, func() (string, error) {
		line, err := a.lines.ReadString('\n')
		if err != nil && line == "" {
			return "", errInputEnded
		}
		return strings.TrimSpace(line), nil
	})
	if err != nil {
		fmt.Fprintln(a.out)
		return "", err
	}
	if answer == "" {
		answer = preset
	}
	return answer, nil
}

// secret asks for a line that the terminal does not show.
func (a *asker) secret(ctx context.Context, question string) (string, error) {
	terminalState, err := term.GetState(int(a.in.Fd()))
	if err != nil {
		return "", err
	}
	answer, err := within(ctx, func() { a.untilHidden(terminalState); fmt.Fprint(a.out, question+": ") }, func() (string, error) {
		line, err := term.ReadPassword(int(a.in.Fd()))
		if errors.Is(err, io.EOF) {
			err = errInputEnded
		}
		return string(line), err
	})
	fmt.Fprintln(a.out)
	if err != nil {
		_ = term.Restore(int(a.in.Fd()), terminalState) // of a question that was left
	}
	return answer, err
}

// hiding bounds how long untilHidden waits.
const hiding = time.Second

// untilHidden returns once the terminal is no longer as it was, since what reads has it show
// nothing: who types at once would be shown else, and who leaves at once would have it stay so.
func (a *asker) untilHidden(was *term.State) {
	for began := time.Now(); time.Since(began) < hiding; time.Sleep(time.Millisecond) {
		if now, err := term.GetState(int(a.in.Fd())); err != nil || !reflect.DeepEqual(now, was) {
			return
		}
	}
}

// within asks, and waits for what reads the answer, or for the end of the context: then what reads
// is left behind, since nothing ends the read of a terminal.
func within(ctx context.Context, ask func(), read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	came := make(chan result, 1)
	go func() {
		text, err := read()
		came <- result{text, err}
	}()
	ask()
	select {
	case r := <-came:
		return r.text, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
