package handoff_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// batching returns settings for a handler of several messages, and each of its calls as text.
func batching(h func(batch []string) error) (*handoff.Settings, *[]string) {
	s := settings(nil)
	calls := new([]string)
	s.Batch = &delivery.Batching{Most: 100, Wait: time.Second, Handler: func(_ context.Context, batch []delivery.Message) error {
		var texts []string
		for _, m := range batch {
			texts = append(texts, string(m.Payload))
		}
		*calls = append(*calls, strings.Join(texts, " "))
		return h(texts)
	}}
	return s, calls
}

func items(payloads ...string) (all []*handoff.Item) {
	for _, payload := range payloads {
		m := &delivery.Message{Topic: "t", Payload: []byte(payload)}
		all = append(all, &handoff.Item{Message: m, Known: handoff.Number(m, 0)})
	}
	return all
}

func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// undone returns what is not done with.
func undone(all []*handoff.Item) (texts []string) {
	for _, it := range all {
		if it.Err != nil {
			texts = append(texts, string(it.Message.Payload))
		}
	}
	return texts
}

func TestHalvesFindTheOneMessageThatFailsAndOnlyThatUsesAttempts(t *testing.T) {
	for _, poisoned := range []string{"0", "37", "99"} {
		t.Run(poisoned, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, calls := batching(func(batch []string) error {
					if slices.Contains(batch, poisoned) {
						return errNotNow
					}
					return nil
				})
				s.MaxAttempts = 2
				var dead []string
				s.DeadLetter = func(_ context.Context, m delivery.Message, err error) error {
					if !errors.Is(err, errNotNow) {
						t.Errorf("the dead letters were told %v", err)
					}
					dead = append(dead, string(m.Payload))
					return nil
				}
				h := handoff.New(s)
				all := items(numbers(100)...)
				if hold := h.Batch(t.Context(), all, nil); hold != 0 {
					t.Errorf("the owner waits %v though others were done with", hold)
				}
				if got := undone(all); !slices.Equal(got, []string{poisoned}) {
					t.Fatalf("%d are not done with: %v", len(got), got)
				}
				if len(*calls) > 20 {
					t.Errorf("%d calls", len(*calls))
				}
				failing, _ := h.Failing()
				if failing.Attempts != 1 || string(failing.Message.Payload) != poisoned {
					t.Errorf("%+v", failing)
				}
				*calls = nil
				again := append(items(numbers(100)[90:95]...), all[slices.IndexFunc(all, func(it *handoff.Item) bool { return it.Err != nil })])
				h.Batch(t.Context(), again, nil)
				if !slices.Equal(dead, []string{poisoned}) || undone(again) != nil || !again[5].Dead || (*calls)[0] != poisoned {
					t.Errorf("dead %v, not done with %v, calls %q", dead, undone(again), *calls)
				}
				if _, failing := h.Failing(); failing {
					t.Error("it fails still")
				}
			})
		})
	}
}

func TestPartsGrowAgainAfterASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, calls := batching(func(batch []string) error {
			if slices.Contains(batch, "0") {
				return errNotNow
			}
			return nil
		})
		h := handoff.New(s)
		h.Batch(t.Context(), items(numbers(100)...), nil)
		var sizes []int
		for _, call := range *calls {
			sizes = append(sizes, len(strings.Fields(call)))
		}
		if want := []int{100, 50, 25, 12, 6, 3, 1, 1, 2, 4, 8, 16, 32, 36}; !slices.Equal(sizes, want) {
			t.Errorf("parts of %v, want %v", sizes, want)
		}
		*calls = nil
		h.Batch(t.Context(), items(numbers(100)[1:]...), nil)
		if len(*calls) != 1 {
			t.Errorf("later %d calls", len(*calls))
		}
	})
}

func TestWhenNothingGoesWellFewAreTriedAndTheOwnerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, calls := batching(func([]string) error { return errNotNow })
		h := handoff.New(s)
		all := items(numbers(100)...)
		hold := h.Batch(t.Context(), all, nil)
		if hold <= 0 || len(*calls) > 8 || len(undone(all)) != 100 {
			t.Fatalf("waits %v after %d calls, %d are not done with", hold, len(*calls), len(undone(all)))
		}
		attempts := 0
		for _, it := range all {
			if f, ok := h.FailingOf(it.Known); ok {
				attempts += f.Attempts
			}
			if it.After <= 0 {
				t.Fatalf("%s is to be handed over at once", it.Message.Payload)
			}
		}
		if attempts != 2 {
			t.Errorf("%d attempts", attempts)
		}
	})
}

func TestVerdictsAreOfEachMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, calls := batching(func(batch []string) error {
			v := make(delivery.Verdicts, len(batch))
			for i, m := range batch {
				switch m {
				case "later":
					v[i] = delivery.RetryAfter(time.Hour, errNotNow)
				case "away":
					v[i] = delivery.NotNow(errNotNow)
				case "never":
					v[i] = fmt.Errorf("wrapped: %w", delivery.Terminate(errNotNow))
				case "bad":
					v[i] = errNotNow
				case "last":
					v = v[:i]
				}
			}
			return fmt.Errorf("the batch: %w", v)
		})
		s.MaxAttempts = 9
		var dead []string
		s.DeadLetter = func(_ context.Context, m delivery.Message, err error) error {
			dead = append(dead, string(m.Payload))
			return nil
		}
		h := handoff.New(s)
		all := items("a", "later", "b", "away", "never", "bad", "c", "last")
		if hold := h.Batch(t.Context(), all, nil); hold != 0 {
			t.Errorf("the owner waits %v", hold)
		}
		if len(*calls) != 1 {
			t.Errorf("calls %q", *calls)
		}
		if got := undone(all); !slices.Equal(got, []string{"later", "away", "bad", "last"}) || !slices.Equal(dead, []string{"never"}) || !all[4].Dead {
			t.Fatalf("not done with %v, dead %v", got, dead)
		}
		if all[1].After != time.Hour || all[3].After <= 0 || all[3].After != all[5].After || all[3].After != all[7].After {
			t.Errorf("again after %v, %v, %v, %v", all[1].After, all[3].After, all[5].After, all[7].After)
		}
		for i, want := range map[int]int{1: 1, 3: 0, 5: 1, 7: 1} {
			if f, ok := h.FailingOf(all[i].Known); !ok || f.Attempts != want {
				t.Errorf("%s has failed %d times, want %d", all[i].Message.Payload, f.Attempts, want)
			}
		}
	})
}

func TestAHandlerThatIsUnavailableHasTheWholeHandedOverAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, calls := batching(func([]string) error {
			return &delivery.VerdictError{Verdict: delivery.Unavailable, After: time.Minute, Err: errNotNow}
		})
		h := handoff.New(s)
		all := items(numbers(10)...)
		if hold := h.Batch(t.Context(), all, nil); hold != time.Minute || len(*calls) != 1 || len(undone(all)) != 10 {
			t.Fatalf("waits %v after %d calls, %d are not done with", hold, len(*calls), len(undone(all)))
		}
		if f, ok := h.Failing(); !ok || f.Attempts != 0 || !errors.Is(f.Err, errNotNow) {
			t.Errorf("%+v", f)
		}
	})
}

func TestAMessageThatPanicsOrEndsTheGoroutineIsFoundToo(t *testing.T) {
	for name, end := range map[string]func(){"exit": runtime.Goexit, "panic": func() { panic("a\x1bdefect") }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := batching(func(batch []string) error {
					if slices.Contains(batch, "3") {
						end()
					}
					return nil
				})
				s.MaxAttempts = 1
				letter := 0
				s.DeadLetter = func(context.Context, delivery.Message, error) error {
					if letter++; letter == 1 {
						end()
					}
					return nil
				}
				h := handoff.New(s)
				all := items(numbers(8)...)
				h.Batch(t.Context(), all, nil)
				if got := undone(all); !slices.Equal(got, []string{"3"}) {
					t.Fatalf("not done with: %v", got)
				}
				h.Batch(t.Context(), all[3:4], nil)
				if undone(all) != nil || letter != 2 {
					t.Fatalf("not done with: %v; %d dead letters", undone(all), letter)
				}
			})
		})
	}
}

func TestWhatAHandlerDoesToABatchIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 5000)
		var got [][]string
		s := settings(nil)
		s.Batch = &delivery.Batching{Most: 100, Handler: func(_ context.Context, batch []delivery.Message) error {
			var texts []string
			for i := range batch {
				texts = append(texts, string(batch[i].Payload))
				batch[i].Payload[0] = '!'
			}
			clear(batch)
			if got = append(got, texts); len(got) == 1 {
				return errNotNow
			}
			return nil
		}}
		all := items("a", "b", long, "c")
		handoff.New(s).Batch(t.Context(), all, nil)
		if want := [][]string{{"a", "b", long, "c"}, {"a", "b"}, {"c"}}; !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("handed over %.40q", got)
		}
		if !errors.Is(all[2].Err, handoff.ErrChanged) || all[0].Err != nil || all[1].Err != nil || all[3].Err != nil {
			t.Errorf("the long one: %v", all[2].Err)
		}
	})
}

func TestNoCallIsBegunOnceDeliveryIsBeingStopped(t *testing.T) {
	closing := make(chan struct{})
	s, calls := batching(func(batch []string) error {
		close(closing)
		return errNotNow
	})
	h := handoff.New(s)
	all := items("a", "b", "c")
	h.Batch(t.Context(), all, closing)
	if len(*calls) != 1 || len(undone(all)) != 3 {
		t.Fatalf("calls %q, not done with %v", *calls, undone(all))
	}
	if f, ok := h.Failing(); ok {
		t.Errorf("%+v", f)
	}
}

func TestARepetitionInABatchIsMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var marks []bool
		s := settings(nil)
		s.Batch = &delivery.Batching{Most: 100, Handler: func(_ context.Context, batch []delivery.Message) error {
			for _, m := range batch {
				marks = append(marks, m.Duplicate)
			}
			if len(batch) > 1 {
				return errNotNow
			}
			return nil
		}}
		all := items("a", "b")
		handoff.New(s).Batch(t.Context(), all, nil)
		if want := []bool{false, false, true, true}; !slices.Equal(marks, want) || all[0].Message.Duplicate {
			t.Errorf("marked %v, want %v", marks, want)
		}
	})
}

func TestASlowBatchIsToldOnceAndInOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := batching(func([]string) error { time.Sleep(3 * time.Minute); return errNotNow })
		var out bytes.Buffer
		s.Logger = slog.New(slog.NewTextHandler(&out, nil))
		slow, handled := 0, 0
		s.Slow = func(delivery.Message, time.Duration) { slow++ }
		s.Handled = func(_ delivery.Message, took time.Duration, err error) {
			if handled++; took != 3*time.Minute || !errors.Is(err, errNotNow) {
				t.Errorf("told of %v, %v", took, err)
			}
		}
		handoff.New(s).Batch(t.Context(), items("secret"), nil)
		synctest.Wait()
		if slow != 1 || handled != 1 || strings.Count(out.String(), "stay unacknowledged") != 1 || strings.Contains(out.String(), "secret") {
			t.Errorf("told %d and %d times; logged %s", slow, handled, out.String())
		}
	})
}

func TestTheFaultsOfABatchingAreTold(t *testing.T) {
	h := func(context.Context, []delivery.Message) error { return nil }
	for want, b := range map[string]delivery.Batching{
		"":                 {Handler: h, Most: 10_000, Wait: 10 * time.Second},
		"Batching.Handler": {},
		"Batching.Most":    {Handler: h, Most: 10_001},
		"Batching.Wait":    {Handler: h, Wait: -1},
	} {
		var faults fds.ConfigError
		handoff.Complete(&b, &faults)
		if err := faults.Err(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if b := handoff.Complete(&delivery.Batching{Handler: h}, nil); b.Most != 100 || b.Wait != 20*time.Millisecond {
		t.Errorf("%+v", b)
	}
}
