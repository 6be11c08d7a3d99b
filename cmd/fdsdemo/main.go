package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fds"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)         // a second signal ends the process at once
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		var lost context.CancelFunc
		ctx, lost = signal.NotifyContext(ctx, syscall.SIGHUP) // of a lost terminal, which may come from several sides
		defer lost()
	}

	// A reader that has gone away is an error of the write, not the end of the
	// process: a message that was not written must not be acknowledged.
	// (Ignoring the signal would be inherited by the browser.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	cobra.MousetrapHelpText = "" // a double click on Windows gives the tour too
	p := newProgram(os.Stdout, os.Stderr)
	p.jsonErr = wantsJSON(os.Args[1:])
	err := p.command().ExecuteContext(ctx)
	if err == nil {
		return statusDone
	}
	if ctx.Err() != nil && !errors.Is(err, fds.ErrUnknownOutcome) {
		err = errInterrupted
	}
	if hasLeft(err) {
		if p.pager.hasLeft() { // the person has seen enough
			return statusDone
		}
		return statusFailed
	}
	status := statusOf(err)
	p.sayError(err, status)
	return status
}
