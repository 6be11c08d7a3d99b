package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	messageBytes = 300
	latencyRate  = 500 // messages a second
	backWithin   = 5 * time.Minute
	deliveryTime = 2 * time.Minute
)

// measured is what one round has found out about a client.
type measured struct {
	figures figures
	stalls  []stall
}

func measureAll(o options, out io.Writer) error {
	if err := raiseFileLimit(); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	for _, broker := range o.brokers {
		if broker == "mosquitto" && mosquittoProgram() == "" {
			fmt.Fprintln(out, "Mosquitto is not installed here: only the embedded broker is measured.")
			continue
		}
		rounds := make(map[string][]measured)
		for i := range o.rounds {
			round, err := measureRound(o, broker, i)
			if err != nil {
				return fmt.Errorf("%s: %w", broker, err)
			}
			for name, m := range round {
				rounds[name] = append(rounds[name], m)
			}
		}
		if err := printTable(out, o, broker, rounds); err != nil {
			return err
		}
		if err := printStalls(out, o, rounds); err != nil {
			return err
		}
	}
	return nil
}

// measureRound measures every client once, beginning with another one in every
// round: who comes first finds a machine in another state.
func measureRound(o options, broker string, round int) (map[string]measured, error) {
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		found  = make(map[string]measured)
		failed error
	)
	first := round % len(o.contenders)
	for _, c := range slices.Concat(o.contenders[first:], o.contenders[:first]) {
		measure := func() {
			m, err := measureOne(o, broker, c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", c.name, err)
			}
			found[c.name] = m
		}
		if o.together {
			all.Go(measure)
		} else if measure(); failed != nil {
			break
		}
	}
	all.Wait()
	return found, failed
}

// measureOne measures one client with a new broker.
func measureOne(o options, brokerName string, c contender) (m measured, err error) {
	start := startMosquitto
	if brokerName == "embedded" {
		start = startEmbedded
	}
	b, err := start(o.owners + 1) // and one to warm up with
	if err != nil {
		return m, fmt.Errorf("start the broker: %w", err)
	}
	defer b.close()
	if c.disk {
		end, err := keepOnDisk(o.disk, b.access)
		if err != nil {
			return m, err
		}
		defer end()
	}
	program, name := "", c.name
	if c.name == old {
		program, name = o.old, sdk
	}
	client, err := startChild("client", program)
	if err != nil {
		return m, err
	}
	defer client.close()

	b.access.Client, b.access.KeepAlive = name, o.keepAlive
	if o.profiles != "" {
		b.access.Profiles = filepath.Join(o.profiles, brokerName+" "+c.name)
	}
	if _, err := client.ask(request{Do: "begin", Access: b.access}); err != nil {
		return m, err
	}
	m.figures = make(figures)
	a, err := client.ask(request{Do: "connect"})
	if err != nil {
		return m, err
	}
	m.figures.add(a.Figures)
	if !c.limited {
		if a, err = client.ask(request{Do: "idle", For: o.idle}); err != nil {
			return m, err
		}
		m.figures.add(a.Figures)
		if err := throughput(o, client, b, m.figures); err != nil {
			return m, fmt.Errorf("throughput: %w", err)
		}
		if m.stalls, err = latency(o, client, b, m.figures); err != nil {
			return m, fmt.Errorf("latency: %w", err)
		}
	}
	if c.reconnects && o.down > 0 {
		if err := restart(o, client, b, m.figures); err != nil {
			return m, fmt.Errorf("restart of the broker: %w", err)
		}
	}
	return m, nil
}

// keepOnDisk makes a folder for states, and a Web API. End removes both.
func keepOnDisk(folder string, a *access) (end func(), err error) {
	api, err := startChild("api", "")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			api.close()
		}
	}()
	served, err := api.ask(request{Do: "begin"})
	if err != nil {
		return nil, err
	}
	if a.StateFolder, err = os.MkdirTemp(folder, "owners"); err != nil {
		return nil, err
	}
	a.APIURL, a.CAPEM = served.Access.APIURL, slices.Concat(a.CAPEM, served.Access.CAPEM)
	return func() {
		api.close()
		_ = os.RemoveAll(a.StateFolder)
	}, nil
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

// latency has messages published at a rate, to the client and to a reference.
func latency(o options, client *child, b *broker, f figures) ([]stall, error) {
	count := max(1, int(o.latency.Seconds()*latencyRate))
	reference, err := startChild("reference", "")
	if err != nil {
		return nil, err
	}
	defer reference.close()
	if _, err := reference.ask(request{Do: "begin", Access: b.access, Count: count}); err != nil {
		return nil, fmt.Errorf("reference: %w", err)
	}
	if _, err := client.ask(request{Do: "expect", Count: count}); err != nil {
		return nil, err
	}
	waits := watchProcessors(map[string]int{atPublisher: b.publisher.pid(), atBroker: b.pid(), atClient: client.pid(), atReference: reference.pid()})
	published, err := b.publisher.ask(request{Do: "publish", Count: count, Rate: latencyRate})
	if err != nil {
		waits.stop()
		return nil, err
	}
	a, err := client.ask(request{Do: "received"})
	waits.stop()
	if err != nil {
		return nil, err
	}
	f[steadyCPU] = micro(a.CPU) / float64(count)
	f.add(a.Figures)
	for _, s := range published.Sends {
		f[publisherLate] = max(f[publisherLate], micro(time.Duration(s.Sent-s.Due)))
	}
	compared, err := reference.ask(request{Do: "received"})
	if err != nil {
		return nil, fmt.Errorf("reference: %w", err)
	}
	return stallsOf(a.Slowest, published.Sends, compared.Got, waits), nil
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
