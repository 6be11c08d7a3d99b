// Command webhook measures how fast deliveries are taken by an endpoint: by this SDK
// (webhook.Receiver) without and with its folder, and by the handler over net/http and
// github.com/coreos/go-oidc that one would write by hand, in the same run:
//
//	go run ./benchmarks/webhook
//
// Endpoints are processes of their own, made anew for each round; this process sends,
// and is the issuer. It prints tables with ratios and, beside them, the goals of this
// SDK. Figures differ between machines and runs; the ratios should not, much. Mind that
// the handler by hand knows neither order nor repetition, and forgets all when it ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

type options struct {
	owners, few, deliveries int
	connections, rounds     int
	rate                    int
	paced                   time.Duration
	folder                  string
	only                    string
	profiles                string
}

func main() {
	var o options
	flag.IntVar(&o.owners, "owners", 10_000, "owners, each with a token of its own")
	flag.IntVar(&o.few, "few", 100, "owners in the tables of few")
	flag.IntVar(&o.deliveries, "deliveries", 20_000, "deliveries for the few owners")
	flag.IntVar(&o.connections, "connections", 256, "deliveries in hand at once: connections of HTTP/1.1, or streams, 64 in a connection of HTTP/2")
	flag.IntVar(&o.rounds, "rounds", 5, "runs of each measurement; the tables have the medians")
	flag.IntVar(&o.rate, "rate", 500, "deliveries a second at which latency is measured")
	flag.DurationVar(&o.paced, "paced", 2*time.Second, "for how long latency is measured")
	flag.StringVar(&o.folder, "folder", "", "where the folders of marks are made, on the disk that is to be measured; default: that of temporary files")
	flag.StringVar(&o.only, "only", "", "the tables and endpoints whose names contain this")
	flag.StringVar(&o.profiles, "profiles", "", "begin of the names of files for processor profiles, of the last round of each; default: none")
	flag.Parse()
	if flag.NArg() > 0 || o.few < 1 || o.owners < o.few || o.deliveries < o.few || o.connections < 1 || o.rounds < 1 || o.rate < 1 || o.paced <= 0 {
		fmt.Fprintln(os.Stderr, "webhook: there are no arguments, numbers are at least 1, and owners and deliveries at least the few owners")
		os.Exit(2)
	}
	var err error
	if name := os.Getenv(endpointVariable); name != "" {
		err = serve(name)
	} else {
		err = measure(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		os.Exit(1)
	}
}

// The endpoints.
const (
	sdk       = "fds-go"
	sdkFolder = "fds-go, folder"
	byHand    = "net/http + go-oidc"
)

var endpoints = []string{sdk, sdkFolder, byHand}

// load is what one table is about.
type load struct {
	name      string
	algorithm string // of the tokens
	owners    int    // with a token each
	known     int    // deliveries with tokens that were sent before
	http2     bool
}

func measure(ctx context.Context, o options) error {
	issuer, err := newIssuer()
	if err != nil {
		return err
	}
	defer issuer.server.Close()
	var loads []load
	for _, http2 := range []bool{false, true} {
		protocol := map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2]
		loads = append(loads,
			load{fmt.Sprintf("%s, %d owners, ES256", protocol, o.few), "ES256", o.few, o.deliveries, http2},
			load{fmt.Sprintf("%s, %d owners, ES256", protocol, o.owners), "ES256", o.owners, o.owners, http2},
			load{fmt.Sprintf("%s, %d owners, RS256", protocol, o.owners), "RS256", o.owners, o.owners, http2},
		)
	}
	header(o)
	for _, l := range loads {
		if !strings.Contains(l.name, o.only) && !slices.Contains(endpoints, o.only) {
			continue
		}
		tokens, err := issuer.tokens(l.algorithm, l.owners)
		if err != nil {
			return err
		}
		runs := make(map[string][]figures)
		for round := range o.rounds {
			for i := range endpoints {
				name := endpoints[(round+i)%len(endpoints)]
				if slices.Contains(endpoints, o.only) && name != o.only {
					continue
				}
				f, err := run(ctx, o, issuer, l, tokens, name)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", l.name, name, err)
				}
				runs[name] = append(runs[name], f)
			}
		}
		if err := table(os.Stdout, l, runs); err != nil {
			return err
		}
	}
	return nil
}

// run measures an endpoint that was made for it.
func run(ctx context.Context, o options, i *issuer, l load, tokens []string, name string) (f figures, err error) {
	folder := ""
	if name == sdkFolder {
		if folder, err = os.MkdirTemp(o.folder, "webhook"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(folder)
	}
	e, err := startEndpoint(name, order{Issuer: i.server.URL, IssuerDER: i.server.Certificate().Raw, Owners: i.owners[:l.owners], Folder: folder, Profile: profile(o, l, name)})
	if err != nil {
		return nil, err
	}
	defer e.close()
	s, err := newSender(ctx, e, l.http2, o.connections)
	if err != nil {
		return nil, err
	}
	defer s.close()
	f = make(figures)
	before, err := e.ask(true)
	if err != nil {
		return nil, err
	}
	phase := func(rate, cpu string, n int) error {
		began := before
		start := time.Now()
		if err := s.all(n, tokens); err != nil {
			return err
		}
		wall := time.Since(start)
		after, err := e.ask(false)
		if err != nil {
			return err
		}
		f[rate] = float64(n) / wall.Seconds()
		f[cpu] = float64((after.CPU - began.CPU).Microseconds()) / float64(n)
		before.CPU = after.CPU
		return nil
	}
	if err := phase(firstRate, firstCPU, len(tokens)); err != nil {
		return nil, err
	}
	if len(tokens) < l.known { // too few for a figure
		delete(f, firstRate)
		delete(f, firstCPU)
	}
	if err := phase(knownRate, knownCPU, l.known); err != nil {
		return nil, err
	}
	start := before.CPU
	took, err := s.paced(o.rate, o.paced, tokens)
	if err != nil {
		return nil, err
	}
	after, err := e.ask(true)
	if err != nil {
		return nil, err
	}
	f[pacedCPU] = float64((after.CPU - start).Microseconds()) / float64(len(took))
	slices.Sort(took)
	f[latency50] = float64(took[len(took)/2].Microseconds())
	f[latency99] = float64(took[len(took)*99/100].Microseconds())
	f[resident] = after.Resident / (1 << 20)
	f[residentOwner] = (after.Resident - before.Resident) / (1 << 10) / float64(l.owners)
	if want := s.sent.Load(); after.Handled != want {
		return nil, fmt.Errorf("%d deliveries were answered 200, and %d handed over", want, after.Handled)
	}
	return f, nil
}

func profile(o options, l load, name string) string {
	if o.profiles == "" {
		return ""
	}
	return o.profiles + strings.NewReplacer(" ", "", ",", "-", "/", "", "+", "-").Replace(l.name+" "+name)
}
