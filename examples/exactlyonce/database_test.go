package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

var owner = fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: fds.NewSubscriptionID()}

// message is one as a handler gets it.
func message(payload string, levels ...string) delivery.Message {
	m := delivery.Message{Owner: owner, Levels: levels, Source: delivery.FromPush, Payload: []byte(payload)}
	return m.In(&dialect)
}

var dialect = fds.Dialect{TimeMember: "generic.date_time", EventTopic: "devices/{generic.device_id}/events", StatusTopic: "devices/{device_id}/status"}

func event(n int) delivery.Message {
	return message(fmt.Sprintf(`{"message_id":"m-%d","generic":{"device_id":"soap-1"}}`, n))
}

func status(at string) delivery.Message {
	return message(fmt.Sprintf(`{"device_id":"soap-1","generic":{"date_time":%q}}`, at), "devices", "soap-1", "status")
}

var ofNothing = message(`{"message_id":"m-9","generic":{}}`)

func open(t *testing.T) (*database, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a base?.db")
	d, err := openDatabase(t.Context(), path, dialect)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, path
}

// verdicts are those of a handler for each of the messages, one at a time or as one batch.
var verdicts = map[string]func(*testing.T, *database, ...delivery.Message) []error{
	"one at a time": func(t *testing.T, d *database, messages ...delivery.Message) (all []error) {
		for _, m := range messages {
			all = append(all, d.one(t.Context(), m))
		}
		return all
	},
	"batch": func(t *testing.T, d *database, messages ...delivery.Message) []error {
		err := d.many(t.Context(), messages)
		if of := (delivery.Verdicts)(nil); errors.As(err, &of) && len(of) == len(messages) {
			return of
		}
		t.Fatalf("of %d messages the verdict is %v", len(messages), err)
		return nil
	},
}

func verdictOf(err error) string {
	var told *delivery.VerdictError
	switch {
	case err == nil:
		return "done"
	case !errors.As(err, &told):
		return err.Error()
	}
	return [...]string{delivery.Retry: "retry", delivery.Terminal: "terminal", delivery.Unavailable: "unavailable"}[told.Verdict]
}

func TestWhatABadMessageHasBegunIsUndoneAndTheOthersAreThere(t *testing.T) {
	for name, hand := range verdicts {
		t.Run(name, func(t *testing.T) {
			d, _ := open(t)
			noKey := message(`{"generic":{"device_id":"soap-1"}}`, "devices", "soap-1", "events")
			if _, ok := noKey.Key(); ok || noKey.Kind != delivery.KindEvent {
				t.Fatalf("%q", noKey.Kind)
			}
			for range 2 { // it comes again
				for i, err := range hand(t, d, event(1), ofNothing, event(2), noKey, message("no JSON"), status("2026-11-28T10:00:00Z")) {
					if want := [...]string{"done", "terminal", "done", "terminal", "terminal", "done"}[i]; verdictOf(err) != want {
						t.Errorf("message %d: %v, want %s", i, err, want)
					}
				}
			}
			counted(t, d, `SELECT count(*) FROM handled WHERE times = 2`, 2)
			counted(t, d, `SELECT count(*) FROM handled`, 2)
			counted(t, d, `SELECT events FROM counts`, 2)
			counted(t, d, `SELECT count(*) FROM states`, 1)
		})
	}
}

func counted(t *testing.T, d *database, query string, want int) {
	t.Helper()
	var n int
	if err := d.db.QueryRowContext(t.Context(), query).Scan(&n); err != nil || n != want {
		t.Errorf("%s is %d, want %d: %v", query, n, want, err)
	}
}

func TestOfStatesTheNewestStaysInWhateverOrderTheyCome(t *testing.T) {
	for name, hand := range verdicts {
		t.Run(name, func(t *testing.T) {
			d, _ := open(t)
			old, newest := status("2026-11-28T10:00:00Z"), status("2026-11-28T12:00:00.5+01:00") // 11:00:00.5 UTC
			for _, err := range hand(t, d, old, newest, status("2026-11-28T11:00:00.4Z"), newest, old) {
				if err != nil {
					t.Error(err)
				}
			}
			var payload string
			if err := d.db.QueryRowContext(t.Context(), `SELECT payload FROM states`).Scan(&payload); err != nil || payload != string(newest.Payload) {
				t.Errorf("the state is %s, want %s: %v", payload, newest.Payload, err)
			}
		})
	}
}

func TestADatabaseThatIsBusyOrGoneIsNoFaultOfAMessage(t *testing.T) {
	d, path := open(t)
	other, err := openDatabase(t.Context(), path, dialect)
	if err != nil {
		t.Fatal(err)
	}
	defer other.db.Close()
	if _, err := d.db.ExecContext(t.Context(), `PRAGMA busy_timeout = 10`); err != nil {
		t.Fatal(err)
	}
	unavailable := func(when string) {
		t.Helper()
		for _, err := range []error{d.one(t.Context(), event(1)), d.many(t.Context(), []delivery.Message{ofNothing, event(1)})} {
			if verdictOf(err) != "unavailable" {
				t.Errorf("%s: %v", when, err)
			}
		}
		if err := d.dead(t.Context(), ofNothing, fds.ErrItem); err == nil {
			t.Errorf("%s: there is a dead letter", when)
		}
	}
	tx, err := other.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	unavailable("another process writes")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := d.one(t.Context(), event(1)); err != nil {
		t.Errorf("it writes no more: %v", err)
	}
	if _, err := other.db.ExecContext(t.Context(), `ALTER TABLE handled RENAME TO other`); err != nil {
		t.Fatal(err)
	}
	if verdict := verdictOf(d.one(t.Context(), event(2))); verdict != "unavailable" {
		t.Errorf("a table is missing: %s", verdict)
	}
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	unavailable("it is closed")
}

func TestADeadLetterIsKeptOnce(t *testing.T) {
	d, _ := open(t)
	for _, m := range []delivery.Message{ofNothing, ofNothing, message(""), message("")} {
		if err := d.dead(t.Context(), m, fds.ErrItem); err != nil {
			t.Fatal(err)
		}
	}
	counted(t, d, `SELECT count(*) FROM dead_letters`, 2)
}
