package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// roleVariable of the environment makes this program one of its own children.
const roleVariable = "FDS_BENCHMARK_OWNERS_ROLE"

// request is one line of JSON to a child, which answers it with one before it
// reads the next.
type request struct {
	Do     string
	Access *access       `json:",omitempty"`
	Count  int           `json:",omitempty"`
	Rate   int           `json:",omitempty"` // a second; 0: as fast as it goes
	For    time.Duration `json:",omitempty"`
}

type answer struct {
	Err     string `json:",omitempty"`
	Figures figures
	Access  *access `json:",omitempty"`
	CPU     time.Duration
	Last    time.Time
	Ups     []time.Time `json:",omitempty"` // when owners came back
	Closed  []time.Time `json:",omitempty"` // when their gaps were closed

	Sends   []send    `json:",omitempty"` // of a publisher with a rate, by the messages' numbers
	Slowest []arrival `json:",omitempty"` // of a client
	Got     []int64   `json:",omitempty"` // of the reference, by the messages' numbers, in nanoseconds; 0: never
}

// access is what a client or a publisher needs to connect.
type access struct {
	BrokerURL string
	CAPEM     []byte
	Owners    []identity // the last one is to warm up with
	Providers []identity // that may publish; none with the embedded broker

	Reference       identity // gets every message that is published with a rate
	ReferenceFilter string

	APIURL      string // "": there is none
	StateFolder string // "": states are in memory

	Client    string // name of a contender
	KeepAlive time.Duration
	Profiles  string // begin of the names of files; "": none
}

// identity is a client certificate, whose common name is the client ID.
type identity struct {
	ID      string
	CertPEM []byte
	KeyPEM  []byte
}

// child is this program, or an older build, running in another role. It ends when it is closed, or
// when this process ends, however it does.
type child struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// startChild starts a program, by default this one.
func startChild(role, program string) (c *child, err error) {
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	c = &child{command: exec.Command(program)}
	c.command.Env = append(os.Environ(), roleVariable+"="+role)
	c.command.Stderr = os.Stderr
	if c.in, err = c.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.command.Start(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *child) ask(r request) (answer, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return answer{}, err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return answer{}, fmt.Errorf("%s: the process has ended: %w", r.Do, err)
	}
	var a answer
	if line, err = c.out.ReadBytes('\n'); err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err == nil && a.Err != "" {
		err = errors.New(a.Err)
	}
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", r.Do, err)
	}
	return a, nil
}

func (c *child) pid() int { return c.command.Process.Pid }

func (c *child) close() {
	_ = c.in.Close()
	_ = c.thaw() // it may have been left frozen, and then would not see that
	_ = c.command.Wait()
}

// serve is the main function of a child: it answers requests until there are no
// more.
func serve(role string) int {
	var handle func(request) (answer, error)
	switch role {
	case "client":
		handle = newClientProcess().handle
	case "publisher":
		handle = new(publisherProcess).handle
	case "reference":
		handle = new(referenceProcess).handle
	case "api":
		handle = func(request) (answer, error) {
			a, err := serveAPI()
			return answer{Access: a}, err
		}
	case "broker":
		handle = new(embeddedProcess).handle
	default:
		fmt.Fprintf(os.Stderr, "owners: %s is %q, which is no role\n", roleVariable, role)
		return 2
	}
	if err := raiseFileLimit(); err != nil {
		fmt.Fprintln(os.Stderr, "owners: raise the limit of open files:", err)
		return 1
	}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return 0
		}
		var r request
		var a answer
		if err = json.Unmarshal(line, &r); err == nil {
			a, err = handle(r)
		}
		if err != nil {
			a.Err = err.Error()
		}
		if line, err = json.Marshal(a); err != nil {
			fmt.Fprintln(os.Stderr, "owners:", err)
			return 1
		}
		if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
			return 1
		}
	}
}
