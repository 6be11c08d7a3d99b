package pull_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

func TestEachListComesFromItsCollectionInItsType(t *testing.T) {
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer "+secret || r.Header.Get("Accept") != "application/json" || r.UserAgent() != "fds-go" {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		answer(`[{"device_id":"d","space_id":"s","message_id":"m","id":"other","collection":"`+strings.TrimPrefix(r.URL.Path, "/fds/v2/")+`"}]`)(w, r)
	})
	client := a.client(t)
	check := func(kind pull.Kind, id, wantID string, item fds.Item, err error) {
		t.Helper()
		if err != nil || id != wantID {
			t.Errorf("%s: ID %q, %v", kind, id, err)
			return
		}
		if got, err := fds.As[string](item, "collection"); got != string(kind) || err != nil {
			t.Errorf("%s came from %q, %v", kind, got, err)
		}
	}
	for device, err := range client.Specifications(t.Context(), pull.Query{}) {
		check(pull.Specifications, device.ID(), "d", device.Item, err)
	}
	for device, err := range client.Statuses(t.Context(), pull.Query{}) {
		check(pull.Statuses, device.ID(), "d", device.Item, err)
	}
	for device, err := range client.Statistics(t.Context(), pull.Query{}) {
		check(pull.Statistics, device.ID(), "d", device.Item, err)
	}
	for device, err := range client.Diagnostics(t.Context(), pull.Query{}) {
		check(pull.Diagnostics, device.ID(), "d", device.Item, err)
	}
	for space, err := range client.Spaces(t.Context(), pull.Query{}) {
		check(pull.Spaces, space.ID(), "s", space.Item, err)
	}
	for message, err := range client.Events(t.Context(), pull.Query{}) {
		check(pull.Events, message.ID(), "m", message.Item, err)
	}
	for item, err := range client.EventSpecifications(t.Context(), pull.Query{}) {
		check(pull.EventSpecifications, "", "", item, err)
	}
	for _, kind := range pull.Kinds() {
		for item, err := range client.Items(t.Context(), kind, pull.Query{}) {
			check(kind, "", "", item, err)
		}
	}
	if want := 2 * len(pull.Kinds()); a.authorized != want {
		t.Errorf("%d requests, want %d: a list was empty", a.authorized, want)
	}
	a.config.Dialect = fds.Dialect{DeviceID: "id", MessageID: "id"}
	other := a.client(t)
	for device, err := range other.Statuses(t.Context(), pull.Query{}) {
		check(pull.Statuses, device.ID(), "other", device.Item, err)
	}
	for message, err := range other.Events(t.Context(), pull.Query{}) {
		check(pull.Events, message.ID(), "other", message.Item, err)
	}
}

// exact are items that a decoder into Go values would not give back.
var exact = []string{
	`{"z":1.0, "a" : 1E+2,"n":12345678901234567890123.000,"a":-0,"\u0061":"\u00e9\/<&>"}`,
	"{ \"s\":\"\\ud800 ä \u2028\",\n\t\"e\":[ ],\"\":null}",
	`{}`,
	`{"big":1e400,"small":1e-400,"deep":` + strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000) + `}`,
}

func TestItemsKeepTheirBytes(t *testing.T) {
	for _, form := range []struct {
		name, body string
		dialect    fds.Dialect
	}{
		{"an array", "[" + strings.Join(exact, " ,\r\n ") + "]", fds.Dialect{}},
		{"white space around", " \n[ " + strings.Join(exact, ",") + " ] \t\n", fds.Dialect{}},
		{"a member", `{"status":7,"page":{"n":[1]},"li\u0073t":[` + strings.Join(exact, ",") + `],"more":[{}]}`, fds.Dialect{ListMember: "list"}},
		{"an array though a member is named", "[" + strings.Join(exact, ",") + "]", fds.Dialect{ListMember: "list"}},
		{"a list beside a status and a message", `{"status":200,"message":"ok","list":[` + strings.Join(exact, ",") + `]}`, fds.Dialect{ListMember: "list"}},
	} {
		a := serve(t, answer(form.body))
		a.config.Dialect = form.dialect
		got, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{}))
		if err != nil || !slices.Equal(got, exact) {
			t.Errorf("%s: %.300q, %v", form.name, got, err)
		}
	}
}

func TestAnEmptyListHasNoItemsAndNoError(t *testing.T) {
	for _, body := range []string{"[]", " [ ] "} {
		if got, err := raws(serve(t, answer(body)).client(t).Items(t.Context(), pull.Spaces, pull.Query{})); len(got) != 0 || err != nil {
			t.Errorf("%q: %q, %v", body, got, err)
		}
	}
}

func TestAnItemIsYieldedBeforeTheNextOneIsSent(t *testing.T) {
	taken := make(chan struct{}, 1)
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[")
		for i := range 3 {
			fmt.Fprintf(w, `{"n":%d}`, i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-taken:
			case <-r.Context().Done():
				return
			}
			_, _ = io.WriteString(w, []string{",", ",", "]"}[i])
		}
	})
	n := 0
	for item, err := range a.client(t).Items(t.Context(), pull.Events, pull.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := fds.As[int](item, "n"); got != n {
			t.Fatalf("item %d is %s", n, item.Raw())
		}
		n++
		taken <- struct{}{}
	}
	if n != 3 {
		t.Fatalf("%d items", n)
	}
}

func TestALoopThatEndsEarlyClosesTheRequest(t *testing.T) {
	for _, protocol := range []string{"HTTP/2.0", "HTTP/1.1"} {
		t.Run(protocol, func(t *testing.T) {
			noLeak(t)
			gone := make(chan struct{})
			a := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != protocol {
					t.Errorf("spoken: %s", r.Proto)
				}
				defer close(gone)
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, "[{}")
				for r.Context().Err() == nil { // without end
					if _, err := io.WriteString(w, ",{}"); err != nil {
						return
					}
				}
			})
			if protocol == "HTTP/1.1" {
				transport := transportFor(t, a.Server)
				transport.ForceAttemptHTTP2 = false
				a.config.Transport = transport
			}
			for _, err := range a.client(t).Items(t.Context(), pull.Spaces, pull.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			wait(t, gone, "the server saw the request end")
		})
	}
}

func TestALoopThatEndsEarlyEndsASplitQuery(t *testing.T) {
	a := serve(t, answer(`[{},{}]`))
	for range a.client(t).Items(t.Context(), pull.Statuses, pull.Query{IDs: slices.Repeat([]string{strings.Repeat("x", 1000)}, 20)}) {
		break
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.authorized > 2 { // the one in use and the next
		t.Fatalf("%d requests for one item", a.authorized)
	}
}

// closing is a transport that tells when a body was closed, by the context of its
// request.
type closing struct {
	body   string
	closed chan context.Context
}

func (c closing) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: &closingBody{
		Reader: strings.NewReader(c.body),
		close:  sync.OnceFunc(func() { c.closed <- request.Context() }),
	}, Request: request}, nil
}

type closingBody struct {
	io.Reader
	close func()
}

func (b *closingBody) Close() error {
	b.close()
	return nil
}

func TestEveryEndOfALoopEndsBodyAndContext(t *testing.T) {
	for name, body := range map[string]string{"early": "[{},{}", "whole": "[{}]", "failed": "[{}", "refused": `{"status":401,"message":"no"}`} {
		transport := closing{body: body, closed: make(chan context.Context, 1)}
		client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: transport, Settings: pull.Settings{RetryFor: -1}})
		for range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
			if name == "early" {
				break // the reader, which is ahead of the loop, ends after it
			}
		}
		select {
		case ctx := <-transport.closed:
			wait(t, ctx.Done(), name+": the request's context ended")
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the body was never closed", name)
		}
	}
}

func TestALoopThatPanicsClosesTheRequest(t *testing.T) {
	noLeak(t)
	a := serve(t, answer("[{},{}]"))
	func() {
		defer func() {
			if recover() != "the loop's" {
				t.Error("the panic was swallowed")
			}
		}()
		for range a.client(t).Items(t.Context(), pull.Spaces, pull.Query{}) {
			panic("the loop's")
		}
	}()
}

func TestAListCanBeReadTwice(t *testing.T) {
	a := serve(t, answer(`[{}]`))
	list := a.client(t).Items(t.Context(), pull.Spaces, pull.Query{})
	for range 2 {
		if got, err := raws(list); len(got) != 1 || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if a.authorized != 2 {
		t.Fatalf("%d requests for two loops", a.authorized)
	}
}

func TestOneMalformedItemDoesNotHideTheOthers(t *testing.T) {
	a := serve(t, answer("[{\"device_id\":\"a\"},{\"device_id\":\"\xff"+secret+"\"},7,{\"device_id\":\"b\"}]"))
	var ids []string
	var errs []error
	for device, err := range a.client(t).Statuses(t.Context(), pull.Query{}) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ids = append(ids, device.ID())
	}
	if !slices.Equal(ids, []string{"a", "b"}) || len(errs) != 2 {
		t.Fatalf("%q, %v", ids, errs)
	}
	for i, err := range errs {
		if !errors.Is(err, fds.ErrItem) || pull.Retryable(err) || !strings.Contains(err.Error(), fmt.Sprintf("item %d ", i+1)) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
	}
	collected, err := pull.Collect(a.client(t).Statuses(t.Context(), pull.Query{}))
	if len(collected) != 2 || !errors.Is(err, fds.ErrItem) || !strings.Contains(err.Error(), "item 1 ") {
		t.Fatalf("collected %v, %v", collected, err)
	}
}

func TestItemsThatCameWholeAreYieldedBeforeTheBodyIsCutShort(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"the connection is lost": func(w http.ResponseWriter, r *http.Request) {
			answer(`[{"n":0},{"n":1},{"n":`)(w, r)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"less than announced": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			answer(`[{"n":0},{"n":1}`)(w, r)
		},
		"the JSON stops inside an item": answer(`[{"n":0},{"n":1},{"n"`),
		"the JSON stops after a comma":  answer(`[{"n":0},{"n":1},`),
		"the JSON stops after an item":  answer(`[{"n":0},{"n":1}`),
	} {
		a := serve(t, handler)
		got, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{}))
		if !slices.Equal(got, []string{`{"n":0}`, `{"n":1}`}) || !errors.Is(err, fds.ErrUnavailable) || !pull.Retryable(err) || !strings.Contains(err.Error(), "cut short") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestAFailureEndsTheRequestsOfASplitQuery(t *testing.T) {
	requests := 0
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answer(`[{}]`)(w, r)
	})
	ids := slices.Repeat([]string{strings.Repeat("x", 1000)}, 20)
	got, err := raws(a.client(t).Items(t.Context(), pull.Statuses, pull.Query{IDs: ids}))
	if len(got) != 1 || !errors.Is(err, fds.ErrUnavailable) || requests != 2 {
		t.Fatalf("%d items, %d requests, %v", len(got), requests, err)
	}
}

func TestALongListTakesTheMemoryOfAnItem(t *testing.T) {
	const n = 4_000 // 40 MB
	a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = devices(w, n, 10_000)
	})
	client := a.client(t)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	count, most := 0, uint64(0)
	for device, err := range client.Specifications(t.Context(), pull.Query{}) {
		if err != nil || device.Type() != fds.DeviceDispenser {
			t.Fatalf("device %d: %v, %v", count, device.Type(), err)
		}
		if count++; count%400 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}
	if count != n {
		t.Fatalf("%d items", count)
	}
	if most > before.HeapAlloc+8<<20 {
		t.Fatalf("%d MB were held while a list of %d MB was read", (most-before.HeapAlloc)>>20, n*10_000>>20)
	}
	t.Logf("%d KB more than before", (int64(most)-int64(before.HeapAlloc))>>10)
}

func BenchmarkDevices(b *testing.B) {
	const n = 10_000
	a := serve(b, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = devices(w, n, 120)
	})
	client := a.client(b)
	b.ReportAllocs()
	for b.Loop() {
		count := 0
		for _, err := range client.Specifications(b.Context(), pull.Query{}) {
			if err != nil {
				b.Fatal(err)
			}
			count++
		}
		if count != n {
			b.Fatal(count)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/item")
}
