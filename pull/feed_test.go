package pull_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// numbered has pages by number, from 1 on.
func numbered(c *pull.Config) {
	c.Dialect.Paging = fds.Paging{PageParameter: "page", FirstPage: 1}
}

func pageOf(r *http.Request) int {
	n, _ := strconv.Atoi(r.URL.Query().Get("page"))
	return n
}

func TestTheProvidersTimeAndTheLoopsAreNotAddedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			if pageOf(r) > 10 {
				return reply(r, 200, `[]`), nil
			}
			return reply(r, 200, fmt.Sprintf(`[{"n":%d}]`, pageOf(r))), pause(r, 20*time.Millisecond)
		}), numbered)
		start, n := time.Now(), 0
		for item, err := range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
			n++
			if got, _ := fds.As[int](item, "n"); err != nil || got != n {
				t.Fatalf("item %d is %s, %v", n, item.Raw(), err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if took := time.Since(start); n != 10 || took != 220*time.Millisecond {
			t.Fatalf("%d pages took %v; one after the other they would take 400ms", n, took)
		}
	})
}

func TestAPageIsAskedForOnlyWhenTheOneBeforeTheLastIsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			n := pageOf(r)
			asked.Store(int64(n))
			if n > 6 {
				return reply(r, 200, `[]`), nil
			}
			// Its second item comes later, so that the loop takes the page in two parts.
			late := io.MultiReader(strings.NewReader(fmt.Sprintf(`[{"n":%d}`, n)), &slowBody{ctx: r.Context(), each: time.Second, parts: []string{fmt.Sprintf(`,{"n":%d}]`, n)}})
			return stream(r, 200, late), nil
		}), numbered)
		items := 0
		for item, err := range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			items++
			time.Sleep(time.Minute)
			synctest.Wait()
			if used, _ := fds.As[int64](item, "n"); asked.Load() > used+1 {
				t.Errorf("page %d was asked for while the loop was at page %d", asked.Load(), used)
			}
		}
		if items != 12 {
			t.Errorf("%d items", items)
		}
	})
}

func TestAHundredThousandDevicesInPagesTakeBoundedMemory(t *testing.T) {
	const pages, size = 100, 1000
	note := strings.Repeat("x", 400)
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		if pageOf(r) > pages {
			return reply(r, 200, `[]`), nil
		}
		from, to := io.Pipe()
		go func() {
			for i := range size {
				if _, err := fmt.Fprintf(to, `%c{"device_id":"%d_%d","generic":{"device_type":"dispenser","note":"%s"}}`, "[,"[min(i, 1)], pageOf(r), i, note); err != nil {
					return
				}
			}
			_, _ = io.WriteString(to, "]")
			to.Close()
		}()
		return stream(r, 200, from), nil
	}), numbered)
	before, most, n := heap(), int64(0), 0
	for _, err := range client.Specifications(t.Context(), pull.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%5000 == 0 {
			most = max(most, heap())
		}
	}
	if n != pages*size {
		t.Fatalf("%d devices", n)
	}
	if most > before+8<<20 {
		t.Fatalf("%d MB were held", (most-before)>>20)
	}
}

func TestAttackTinyItemsAheadOfASlowLoopTakeBoundedMemory(t *testing.T) {
	tiny := strings.Repeat("{},", 8<<20)
	synctest.Test(t, func(t *testing.T) {
		body := io.MultiReader(strings.NewReader("["), strings.NewReader(tiny), strings.NewReader("{}]"))
		client := offline(t, script(func(r *http.Request) (*http.Response, error) { return stream(r, 200, body), nil }))
		before := heap()
		for _, err := range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // nothing more is read ahead
			if held := heap() - before; held > 8<<20 {
				t.Fatalf("%d MB are held of items of two bytes", held>>20)
			}
			break
		}
	})
}

// odd is an Authorizer that does something unheard of.
type odd func()

func (o odd) Authorize(context.Context, *http.Request) error { o(); return nil }

func (o odd) Challenged(context.Context, *http.Response) (bool, error) { return false, nil }

func TestAPanicOfTheAuthorizerIsTheLoops(t *testing.T) {
	noLeak(t)
	client := offline(t, &recorder{}, func(c *pull.Config) { c.Authorizer = odd(func() { panic("no key") }) })
	defer func() {
		if got := recover(); got != "no key" {
			t.Errorf("recovered %v", got)
		}
	}()
	for range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
	}
	t.Error("the loop ended")
}

func TestAnAuthorizerThatEndsItsGoroutineEndsTheListWithAnError(t *testing.T) {
	noLeak(t)
	client := offline(t, &recorder{}, func(c *pull.Config) { c.Authorizer = odd(runtime.Goexit) })
	got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
	if len(got) != 0 || err == nil || !strings.Contains(err.Error(), "ended its goroutine") || !isOnly(err, nil) {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestWhatCameBeforeAPanicIsYielded(t *testing.T) {
	client := offline(t, script(func(r *http.Request) (*http.Response, error) {
		if pageOf(r) == 2 {
			panic("second")
		}
		return reply(r, 200, `[{"n":1},{"n":2}]`), nil
	}), numbered)
	n := 0
	defer func() {
		if got := recover(); got != "second" || n != 2 {
			t.Errorf("recovered %v after %d items", got, n)
		}
	}()
	for range client.Items(t.Context(), pull.Spaces, pull.Query{}) {
		n++
	}
}

func TestACallerThatCancelsInTheMiddleIsToldSo(t *testing.T) {
	for name, at := range map[string]int{"on the first page": 1, "on a later page": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := offline(t, script(func(r *http.Request) (*http.Response, error) {
					if err := pause(r, time.Second); err != nil {
						return nil, err
					}
					return reply(r, 200, fmt.Sprintf(`[{"n":%d},{"n":%[1]d}]`, pageOf(r))), nil
				}), numbered)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				n, last := 0, error(nil)
				for item, err := range client.Items(ctx, pull.Spaces, pull.Query{}) {
					if last = err; err != nil {
						continue
					}
					if n++; n == 2*at-1 {
						cancel()
					}
					if used, _ := fds.As[int](item, "n"); used > at {
						t.Errorf("page %d was yielded after the end", used)
					}
				}
				if n != 2*at-1 || !errors.Is(last, context.Canceled) || !isOnly(last, nil) {
					t.Fatalf("%d items, then %v", n, last)
				}
			})
		})
	}
}

// deaf is a body that does not hear of its request's end, as one that is in memory already.
type deaf struct {
	parts []string
	each  time.Duration
}

func (d *deaf) Read(p []byte) (int, error) {
	if len(d.parts) == 0 {
		return 0, io.EOF
	}
	time.Sleep(d.each)
	n := copy(p, d.parts[0])
	d.parts = d.parts[1:]
	return n, nil
}

func TestACallerThatCancelsIsToldSoWhoeverNoticesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := offline(t, script(func(r *http.Request) (*http.Response, error) {
			return stream(r, 200, &deaf{[]string{`[{}`, `,`, `{}`, `]`}, time.Second}), nil
		}))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last error
		for _, err := range client.Items(ctx, pull.Spaces, pull.Query{}) {
			if last = err; err == nil {
				cancel()
				time.Sleep(time.Minute) // meanwhile the reader ends
			}
		}
		if !errors.Is(last, context.Canceled) || !isOnly(last, nil) {
			t.Fatalf("%v", last)
		}
	})
}

func TestABreakInTheMiddleOfPagesEndsTheReader(t *testing.T) {
	noLeak(t)
	asked, gone := make(chan struct{}), make(chan struct{})
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if pageOf(r) == 2 {
			close(asked)
			<-r.Context().Done()
			close(gone)
			return
		}
		answer(`[{},{}]`)(w, r)
	})
	numbered(&a.config)
	for _, err := range a.client(t).Items(t.Context(), pull.Spaces, pull.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		wait(t, asked, "the second page was asked for")
		break
	}
	wait(t, gone, "the server saw the request end")
}
