// Command owners measures what one MQTT v5 connection per resource owner costs:
// with this SDK (push.Connection, configured as fdsclient.Run does), with autopaho
// as it comes, with autopaho tuned, and with paho.Client alone, side by side in the
// same run, against Mosquitto and against the broker of fdstest:
//
//	go run ./benchmarks/owners -owners 1000
//
// It prints tables with ratios and, beside them, the goals of this SDK. Times
// differ between machines and runs; the ratios should not, much. Each client, each
// broker and the publisher is a process of its own, and each client gets a new
// broker. It needs Linux, which is where it reads memory and processor time.
//
// An -idle shorter than -keepalive sees no pings: for the real figure of idle
// connections give -idle 60s.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	flag.DurationVar(&o.down, "down", 2*time.Second, "how long a restarted broker is away")
	flag.IntVar(&o.rounds, "rounds", 1, "runs of each measurement; the table gives the medians")
	flag.BoolVar(&o.together, "together", false, "measure all clients at once: quick, and the figures mean nothing")
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
		fmt.Fprintln(os.Stderr, "owners: -broker is mosquitto, embedded or both")
		os.Exit(2)
	}
	if *clients != "" {
		names := strings.Split(*clients, "|")
		contenders = slices.DeleteFunc(contenders, func(c contender) bool { return !slices.Contains(names, c.name) })
	}
	if flag.NArg() > 0 || o.owners < 1 || o.messages < 1 || o.rounds < 1 || o.keepAlive < time.Second || o.idle <= 0 || o.latency < 10*time.Millisecond {
		fmt.Fprintln(os.Stderr, "owners: there are no arguments, numbers are at least 1, -keepalive at least 1s, -latency at least 10ms")
		os.Exit(2)
	}
	if err := measureAll(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "owners:", err)
		os.Exit(1)
	}
}

type options struct {
	owners, messages, rounds       int
	idle, latency, keepAlive, down time.Duration
	brokers                        []string
	profiles                       string
	together                       bool
}

const (
	messageBytes = 300
	latencyRate  = 500 // messages a second
	backWithin   = 100 * time.Second
	deliveryTime = 2 * time.Minute
)

func measureAll(o options, out io.Writer) error {
	if err := raiseFileLimit(); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	for _, broker := range o.brokers {
		if broker == "mosquitto" && mosquittoProgram() == "" {
			fmt.Fprintln(out, "Mosquitto is not installed here: only the embedded broker is measured.")
			continue
		}
		measured := make(map[string][]figures)
		for i := range o.rounds {
			round, err := measureRound(o, broker, i)
			if err != nil {
				return fmt.Errorf("%s: %w", broker, err)
			}
			for name, f := range round {
				measured[name] = append(measured[name], f)
			}
		}
		medians := make(map[string]figures)
		for name, rounds := range measured {
			medians[name] = median(rounds)
		}
		if err := printTable(out, o, broker, medians); err != nil {
			return err
		}
	}
	return nil
}

// measureRound measures every client once, beginning with another one in every
// round: who comes first finds a machine in another state.
func measureRound(o options, broker string, round int) (map[string]figures, error) {
	var (
		all      sync.WaitGroup
		mu       sync.Mutex
		measured = make(map[string]figures)
		failed   error
	)
	first := round % len(contenders)
	for _, c := range slices.Concat(contenders[first:], contenders[:first]) {
		measure := func() {
			f, err := measureOne(o, broker, c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", c.name, err)
			}
			measured[c.name] = f
		}
		if o.together {
			all.Go(measure)
		} else if measure(); failed != nil {
			break
		}
	}
	all.Wait()
	return measured, failed
}

// measureOne measures one client with a new broker.
func measureOne(o options, brokerName string, c contender) (figures, error) {
	start := startMosquitto
	if brokerName == "embedded" {
		start = startEmbedded
	}
	b, err := start(o.owners + 1) // and one to warm up with
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	defer b.close()
	client, err := startChild("client")
	if err != nil {
		return nil, err
	}
	defer client.close()

	b.access.Client, b.access.KeepAlive = c.name, o.keepAlive
	if o.profiles != "" {
		b.access.Profiles = filepath.Join(o.profiles, brokerName+" "+c.name)
	}
	if _, err := client.ask(request{Do: "begin", Access: b.access}); err != nil {
		return nil, err
	}
	f := make(figures)
	a, err := client.ask(request{Do: "connect"})
	if err != nil {
		return nil, err
	}
	f.add(a.Figures)
	if !c.limited {
		if a, err = client.ask(request{Do: "idle", For: o.idle}); err != nil {
			return nil, err
		}
		f.add(a.Figures)
		if err := throughput(o, client, b, f); err != nil {
			return nil, fmt.Errorf("throughput: %w", err)
		}
		if err := latency(o, client, b, f); err != nil {
			return nil, fmt.Errorf("latency: %w", err)
		}
	}
	if c.reconnects {
		if err := restart(o, client, b, f); err != nil {
			return nil, fmt.Errorf("restart of the broker: %w", err)
		}
	}
	return f, nil
}

// throughput has the broker queue all messages while the client is frozen, so
// that no publisher slows it down or takes its processor, then lets it go.
func throughput(o options, client *child, b *broker, f figures) error {
	if _, err := client.ask(request{Do: "expect", Count: o.messages}); err != nil {
		return err
	}
	if err := client.freeze(); err != nil {
		return err
	}
	_, err := b.publisher.ask(request{Do: "publish", Count: o.messages})
	began := time.Now()
	if thawed := client.thaw(); thawed != nil {
		return thawed
	}
	if err != nil {
		return err
	}
	a, err := client.ask(request{Do: "received"})
	if err != nil {
		return err
	}
	f[messageRate] = float64(o.messages) / a.Last.Sub(began).Seconds()
	f[messageCPU] = micro(a.CPU) / float64(o.messages)
	return nil
}

func latency(o options, client *child, b *broker, f figures) error {
	count := max(1, int(o.latency.Seconds()*latencyRate))
	if _, err := client.ask(request{Do: "expect", Count: count}); err != nil {
		return err
	}
	if _, err := b.publisher.ask(request{Do: "publish", Count: count, Rate: latencyRate}); err != nil {
		return err
	}
	a, err := client.ask(request{Do: "received"})
	if err != nil {
		return err
	}
	f[steadyCPU] = micro(a.CPU) / float64(count)
	f.add(a.Figures)
	return nil
}

// restart takes the broker away for a while and watches the owners come back.
func restart(o options, client *child, b *broker, f figures) error {
	if _, err := client.ask(request{Do: "watch"}); err != nil {
		return err
	}
	if err := b.stop(); err != nil {
		return err
	}
	time.Sleep(o.down)
	if err := b.start(); err != nil {
		return err
	}
	began := time.Now()
	a, err := client.ask(request{Do: "back", For: backWithin})
	if err != nil {
		return err
	}
	var after []time.Duration
	for _, up := range a.Ups {
		after = append(after, up.Sub(began))
	}
	slices.Sort(after)
	if len(after) < o.owners {
		return fmt.Errorf("only %d of %d owners were back within %v", len(after), o.owners, backWithin)
	}
	f[backHalf] = after[len(after)/2].Seconds()
	f[backAll] = after[len(after)-1].Seconds()
	f[backPeak] = float64(largestSecond(after))
	late, _ := slices.BinarySearch(after, 30*time.Second)
	f[backLate] = float64(len(after) - late)
	return nil
}

// largestSecond returns the most of the sorted times that lie within any second.
func largestSecond(times []time.Duration) int {
	most, first := 0, 0
	for last, t := range times {
		for t-times[first] >= time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
