// Command owners measures what one MQTT v5 connection per resource owner costs:
// with this SDK (push.Connection, configured as fdsclient.Run does), with autopaho
// as it comes, with autopaho tuned, and with paho.Client alone, side by side in the
// same run, against Mosquitto and against the broker of fdstest:
//
//	go run ./benchmarks/owners -owners 1000 -rounds 5
//
// Each client, each broker and the publisher is a process of its own, and each client
// gets a new broker. A round measures every client once, and the next one begins with
// another client. It needs Linux, which is where it reads memory and processor time.
//
// # What it prints
//
// A table for each broker: of each figure the median over the rounds and, in
// parentheses, the least and the most; beside them the ratios of this SDK's to the
// others', each again the median of the rounds' own ratios with their least and most;
// and the goals of this SDK. Times differ between machines and runs; the ratios should
// not, much. The latency of messages at 500 a second is from the publisher's clock
// before it sends to the client's when its handler has the message: p50, p99, p99.9
// and the maximum of a round. How far the publisher was behind its own schedule is no
// part of that, and has a row of its own. Restarts have the times at which owners are
// subscribed again, counted from when the broker takes connections.
//
// Then the slowest messages of each round, of which those that were on their way at the
// same time make one row: when the slowest of them was sent and came, in seconds from
// the phase's begin, and who was late. The same messages go to a bare subscriber, the
// reference, in a process of its own. A message that came there in less than half of
// the time was late at the client. One that the broker acknowledged late, too, was late at
// the publisher, if that slept too long meanwhile, or else at the broker. The reference may
// be late itself: then it is told what cannot be known. "Had no processor" says that
// threads of the process were ready to run and were not let for half of the time or more:
// then the machine was late. A stop of the whole machine looks like a slow broker.
//
// # Options
//
// An -idle shorter than -keepalive sees no pings: for the real figure of idle
// connections give -idle 60s. For the tail of the latency give -latency 60s: p99.9 of
// the default 4s are two messages. With -down 0 no broker is restarted.
//
// With -disk FOLDER this SDK is measured a second time, with its states in files there
// and a Web API to look for what an outage has lost: what that costs.
//
// With -old FILE an older build of this program is one more client, and shows in the same
// run whether anything has become worse. It answers what its version can. To have all
// figures of a version before this one, build this program with the SDK of then:
//
//	git worktree add /tmp/before COMMIT
//	cp benchmarks/owners/*.go /tmp/before/benchmarks/owners/
//	(cd /tmp/before && go build -o /tmp/owners-before ./benchmarks/owners)
//	go run ./benchmarks/owners -rounds 5 -old /tmp/owners-before
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(serve(role))
	}
	var o options
	flag.IntVar(&o.owners, "owners", 300, "number of resource owners")
	flag.IntVar(&o.messages, "messages", 30_000, "messages of 300 bytes for the throughput")
	flag.DurationVar(&o.idle, "idle", 3*time.Second, "how long idle connections are watched")
	flag.DurationVar(&o.latency, "latency", 4*time.Second, "how long 500 messages a second are sent for the latency")
	flag.DurationVar(&o.keepAlive, "keepalive", time.Minute, "keep-alive of all connections")
	flag.DurationVar(&o.down, "down", 2*time.Second, "how long a restarted broker is away; 0: none is restarted")
	flag.IntVar(&o.rounds, "rounds", 1, "runs of each measurement; the table gives the medians, the least and the most")
	flag.BoolVar(&o.together, "together", false, "measure all clients at once: quick, and the figures mean nothing")
	flag.StringVar(&o.disk, "disk", "", "folder, on the disk that is to be measured, for states of one more "+sdk+"; default: none")
	flag.StringVar(&o.old, "old", "", "an older build of this program, which is measured too; default: none")
	flag.StringVar(&o.profiles, "profiles", "", "folder for heap and goroutine profiles of the idle clients, and CPU profiles of their throughput and latency")
	clients := flag.String("clients", "", "names of the clients that are measured, separated by |; default all")
	broker := flag.String("broker", "both", "mosquitto, embedded or both")
	flag.Parse()
	switch *broker {
	case "mosquitto", "embedded":
		o.brokers = []string{*broker}
	case "both":
		o.brokers = []string{"mosquitto", "embedded"}
	default:
		fail(2, "-broker is mosquitto, embedded or both")
	}
	asked := strings.Split(*clients, "|")
	o.contenders = slices.DeleteFunc(slices.Clone(contenders), func(c contender) bool {
		return c.disk && o.disk == "" || c.name == old && o.old == "" ||
			*clients != "" && !slices.Contains(asked, c.name)
	})
	for _, name := range asked {
		if *clients != "" && !slices.ContainsFunc(o.contenders, func(c contender) bool { return c.name == name }) {
			fail(2, fmt.Sprintf("-clients: %q is none that is measured", name))
		}
	}
	if flag.NArg() > 0 || o.owners < 1 || o.messages < 1 || o.rounds < 1 || o.keepAlive < time.Second || o.idle <= 0 || o.latency < 10*time.Millisecond || o.down < 0 {
		fail(2, "there are no arguments, numbers are at least 1, -keepalive at least 1s, -latency at least 10ms")
	}
	if o.old != "" {
		if _, err := exec.LookPath(o.old); err != nil {
			fail(2, fmt.Errorf("-old: %w", err))
		}
	}
	if err := measureAll(o, os.Stdout); err != nil {
		fail(1, err)
	}
}

func fail(status int, why any) {
	fmt.Fprintln(os.Stderr, "owners:", why)
	os.Exit(status)
}

type options struct {
	owners, messages, rounds       int
	idle, latency, keepAlive, down time.Duration
	brokers                        []string
	contenders                     []contender
	disk, old                      string
	profiles                       string
	together                       bool
}
