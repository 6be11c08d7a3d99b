package pull_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/pull"
)

func TestTheProvidersDateIsToldBeforeTheFirstItemOfEachAnswer(t *testing.T) {
	want := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	n := 0
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Date", want.Format(http.TimeFormat))
		if n == 3 {
			w.Header().Set("Date", "yesterday")
		}
		w.Header().Set("Content-Type", "application/json")
		if n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `[{"device_id":"A"},{"device_id":"B"}]`)
	})
	ask := func() (order []string) {
		for range a.client(t).Items(t.Context(), pull.Statuses, pull.Query{Answered: func(at time.Time) { order = append(order, at.String()) }}) {
			order = append(order, "item")
		}
		return order
	}
	if got := fmt.Sprint(ask()); got != fmt.Sprint([]string{want.String(), "item", "item"}) {
		t.Errorf("told %v", got)
	}
	if got := fmt.Sprint(ask()); got != "[item]" { // the error
		t.Errorf("of a refusal was told %v", got)
	}
	if got := ask(); got[0] != (time.Time{}).String() {
		t.Errorf("without a date was told %v", got[0])
	}
}
