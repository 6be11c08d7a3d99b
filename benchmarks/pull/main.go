// Command pull measures how fast a long list is read from a Web API: with this SDK
// (pull.Client) and with the loop over net/http and encoding/json that one would
// write by hand, side by side in the same run:
//
//	go run ./benchmarks/pull
//
// It prints tables with ratios and, beside them, the goals of this SDK. Times
// differ between machines and runs; the ratios should not, much. The provider is a
// process of its own.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/pull"
)

type options struct {
	items, page, rounds int
	use                 time.Duration
}

func main() {
	var o options
	serve := flag.Duration("serve", -1, "be the provider, which takes that long for each page; used by the command itself")
	flag.IntVar(&o.items, "items", 100_000, "devices in the list")
	flag.IntVar(&o.page, "page", 1000, "devices a page")
	flag.IntVar(&o.rounds, "rounds", 5, "runs of each measurement; the table gives the medians")
	flag.DurationVar(&o.use, "use", 20*time.Microsecond, "what the application does with each device in the last table")
	flag.Parse()
	if flag.NArg() > 0 || o.items < 1 || o.page < 1 || o.page > o.items || o.rounds < 1 {
		fmt.Fprintln(os.Stderr, "pull: there are no arguments, and numbers are at least 1")
		os.Exit(2)
	}
	var err error
	if *serve >= 0 {
		err = provider(o, *serve)
	} else {
		err = measure(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pull:", err)
		os.Exit(1)
	}
}

// contender reads the whole list and calls use for each device.
type contender struct {
	name string
	read func(ctx context.Context, at *api, use func(id, kind string)) error
}

var contenders = []contender{{"fds-go", readSDK}, {"net/http + encoding/json", readByHand}}

func measure(ctx context.Context, o options) error {
	fmt.Printf("%d devices in pages of %d, %d cores, medians of %d\n", o.items, o.page, runtime.NumCPU(), o.rounds)
	for _, latency := range []time.Duration{0, 20 * time.Millisecond} {
		if err := measureAt(ctx, o, latency); err != nil {
			return err
		}
	}
	return nil
}

// figures are those of one run.
type figures struct {
	wall          time.Duration
	allocs, bytes float64 // an item
}

func measureAt(ctx context.Context, o options, latency time.Duration) error {
	at, err := start(o, latency)
	if err != nil {
		return err
	}
	defer at.stop()
	fetch, err := median(o.rounds, func() (figures, error) { return timed(o, func() error { return at.fetchAll(ctx) }) })
	if err != nil {
		return err
	}
	uses := []time.Duration{0}
	if latency > 0 {
		uses = append(uses, o.use)
	}
	for _, use := range uses {
		results := map[string]figures{}
		runs := map[string][]figures{}
		for round := range o.rounds {
			for i := range contenders {
				c := contenders[(round+i)%len(contenders)]
				f, err := timed(o, func() error {
					return count(o, func(each func(string, string)) error { return c.read(ctx, at, each) }, use)
				})
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				runs[c.name] = append(runs[c.name], f)
			}
		}
		for name, all := range runs {
			results[name] = middle(all)
		}
		decode, err := median(o.rounds, func() (figures, error) {
			return timed(o, func() error {
				return count(o, func(each func(string, string)) error { return readSDK(ctx, at.inMemory(), each) }, use)
			})
		})
		if err != nil {
			return err
		}
		table(o, latency, use, results, fetch.wall, decode.wall)
	}
	return nil
}

func table(o options, latency, use time.Duration, results map[string]figures, fetch, decode time.Duration) {
	ours, theirs := results[contenders[0].name], results[contenders[1].name]
	fmt.Printf("\n%v a page, %v of work for each device\n", latency, use)
	fmt.Printf("%-38s %10s %26s %8s  %s\n", "", contenders[0].name, contenders[1].name, "ratio", "goal")
	row := func(name, format string, a, b, ratio float64, goal string) {
		fmt.Printf("%-38s %10s %26s %8.2f  %s\n", name, fmt.Sprintf(format, a), fmt.Sprintf(format, b), ratio, goal)
	}
	judge := func(met bool, goal string) string {
		if met {
			return goal + ": met"
		}
		return goal + ": missed"
	}
	rate := func(f figures) float64 { return float64(o.items) / f.wall.Seconds() }
	throughput := ""
	if latency == 0 {
		throughput = judge(rate(ours) >= rate(theirs), ">= 1")
	}
	row("devices a second", "%.0f", rate(ours), rate(theirs), rate(ours)/rate(theirs), throughput)
	row("wall time, ms", "%.0f", ms(ours.wall), ms(theirs.wall), ours.wall.Seconds()/theirs.wall.Seconds(), "")
	row("allocations a device", "%.1f", ours.allocs, theirs.allocs, ours.allocs/theirs.allocs, "")
	row("bytes allocated a device", "%.0f", ours.bytes, theirs.bytes, ours.bytes/theirs.bytes, "")
	if latency > 0 {
		larger := max(fetch, decode)
		goal := judge(ours.wall.Seconds() <= 1.1*larger.Seconds(), "<= 1.1")
		fmt.Printf("%-38s %10.0f %26s\n", "fetching alone, ms", ms(fetch), "")
		fmt.Printf("%-38s %10.0f %26s\n", "decoding and using alone, ms", ms(decode), "")
		fmt.Printf("%-38s %10.2f %26.2f %8s  %s\n", "wall time / the larger of the two", ours.wall.Seconds()/larger.Seconds(), theirs.wall.Seconds()/larger.Seconds(), "", goal)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// count runs a reader and sees that it returns every device.
func count(o options, read func(each func(id, kind string)) error, use time.Duration) error {
	n, letters := 0, 0
	err := read(func(id, kind string) {
		n++
		letters += len(id) + len(kind)
		if use > 0 {
			for began := time.Now(); time.Since(began) < use; {
			}
		}
	})
	if err == nil && (n != o.items || letters == 0) {
		err = fmt.Errorf("%d devices were read, want %d", n, o.items)
	}
	return err
}

func timed(o options, run func() error) (figures, error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	err := run()
	wall := time.Since(began)
	runtime.ReadMemStats(&after)
	n := float64(o.items)
	return figures{wall, float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n}, err
}

func median(rounds int, run func() (figures, error)) (figures, error) {
	var all []figures
	for range rounds {
		f, err := run()
		if err != nil {
			return f, err
		}
		all = append(all, f)
	}
	return middle(all), nil
}

func middle(all []figures) figures {
	slices.SortFunc(all, func(a, b figures) int { return int(a.wall - b.wall) })
	return all[len(all)/2]
}

// api is the provider's Web API.
type api struct {
	url       string
	pages     int
	transport http.RoundTripper
	bodies    map[string][]byte // of the pages, once they were fetched
	stop      func()
}

// start runs the provider, which takes so long for each page.
func start(o options, latency time.Duration) (*api, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.Command(self, "-serve", latency.String(), "-items", fmt.Sprint(o.items), "-page", fmt.Sprint(o.page))
	child.Stderr = os.Stderr
	in, err := child.StdinPipe() // its end ends the provider
	if err != nil {
		return nil, err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	stop := func() {
		in.Close()
		_ = child.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, encoded, found := strings.Cut(strings.TrimSpace(line), " ")
	der, decodeErr := base64.StdEncoding.DecodeString(encoded)
	if err != nil || decodeErr != nil || !found {
		stop()
		return nil, errors.New("the provider did not come up")
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		stop()
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return &api{
		url: url, pages: (o.items + o.page - 1) / o.page, stop: stop,
		transport: pull.NewTransport(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}),
		bodies:    make(map[string][]byte),
	}, nil
}

// get fetches one page; the one after the last is empty.
func (a *api) get(ctx context.Context, page int) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/fds/v2/specifications?page=%d", a.url, page), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := (&http.Client{Transport: a.transport}).Do(request)
	if err == nil && response.StatusCode != http.StatusOK {
		response.Body.Close()
		err = errors.New(response.Status)
	}
	return response, err
}

// fetchAll fetches every page, reads none, and keeps them for inMemory.
func (a *api) fetchAll(ctx context.Context) error {
	for page := range a.pages + 1 {
		response, err := a.get(ctx, page)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		a.bodies[response.Request.URL.RequestURI()] = body
	}
	return nil
}

// inMemory is the same API without a network and without a wait.
func (a *api) inMemory() *api {
	return &api{url: a.url, pages: a.pages, transport: memory(a.bodies)}
}

type memory map[string][]byte

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(m[r.URL.RequestURI()]))),
	}, nil
}
