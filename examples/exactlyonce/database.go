package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

//go:embed schema.sql
var schema string

// The statements of the recipe. They are the same in PostgreSQL, but for the names of parameters.
const (
	insertKey   = `INSERT INTO handled (owner, key, at, first_by, last_by) VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING`
	countKey    = `UPDATE handled SET times = times + 1, last_by = ?3 WHERE owner = ?1 AND key = ?2`
	insertEvent = `INSERT INTO events (owner, about, key, payload) VALUES (?1, ?2, ?3, ?4)`
	countEvent  = `INSERT INTO counts (owner, about, events) VALUES (?1, ?2, 1) ON CONFLICT (owner, about) DO UPDATE SET events = counts.events + 1`
	upsertState = `INSERT INTO states (owner, device, at, payload) VALUES (?1, ?2, ?3, ?4)
		ON CONFLICT (owner, device) DO UPDATE SET at = excluded.at, payload = excluded.payload WHERE excluded.at > states.at`
	insertDead = `INSERT INTO dead_letters (owner, digest, why, payload) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING`
)

// database takes messages: what a message does and its key are written in one transaction.
type database struct {
	db      *sql.DB
	dialect fds.Dialect
}

func openDatabase(ctx context.Context, path string, dialect fds.Dialect) (*database, error) {
	settings := url.Values{
		"_pragma": {"busy_timeout(2000)", "journal_mode(WAL)", "synchronous(FULL)"}, // FULL: what is committed is on disk, and may be acknowledged
		"_txlock": {"immediate"},
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: settings.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite has one writer: the others wait here, in order
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &database{db, dialect}, nil
}

// one is a delivery.Handler: a transaction for each message.
func (d *database) one(ctx context.Context, m delivery.Message) error {
	return verdict(d.transaction(ctx, func(tx *sql.Tx) error { return d.apply(ctx, tx, m) }))
}

// transaction commits what do has done, all of it or nothing. After an error of the commit it is
// one or the other: the message comes again, and its key tells.
func (d *database) transaction(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// many is a delivery.BatchHandler: one transaction for all messages, of whichever owners. A message
// that is bad itself is undone alone.
func (d *database) many(ctx context.Context, batch []delivery.Message) error {
	verdicts := make(delivery.Verdicts, len(batch))
	err := d.transaction(ctx, func(tx *sql.Tx) error {
		for i, m := range batch {
			if _, err := tx.ExecContext(ctx, "SAVEPOINT message"); err != nil {
				return err
			}
			if err := d.apply(ctx, tx, m); ofTheMessage(err) {
				verdicts[i] = verdict(err)
				if _, err := tx.ExecContext(ctx, "ROLLBACK TO message"); err != nil { // its key, too
					return err
				}
			} else if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "RELEASE message"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return delivery.NotNow(err) // nothing is there, or after an error of the commit all
	}
	return verdicts
}

// apply does in a transaction what the message is for, unless its key is there: then that was done
// before, by this process or an earlier one.
func (d *database) apply(ctx context.Context, tx *sql.Tx, m delivery.Message) error {
	owner := m.Owner.SubscriptionID.String()
	key, known := m.Key()
	if known {
		switch inserted, err := changes(tx.ExecContext(ctx, insertKey, owner, key, time.Now().UTC(), m.Source)); {
		case err != nil:
			return err
		case inserted == 0:
			_, err := tx.ExecContext(ctx, countKey, owner, key, m.Source)
			return err
		}
	}
	item, err := m.Item()
	if err != nil {
		return err
	}
	id, err := about(item)
	if err != nil {
		return err
	}
	switch at, dated := d.dialect.Time(item); {
	case m.Kind == delivery.KindEvent && known:
		if _, err := tx.ExecContext(ctx, insertEvent, owner, id, key, m.Payload); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, countEvent, owner, id)
	case m.Kind == delivery.KindStatus && dated:
		// With or without a key: the newest state is the same however often, and in whatever
		// order, states come.
		_, err = tx.ExecContext(ctx, upsertState, owner, id, at.UnixNano(), m.Payload)
	default:
		err = fmt.Errorf("%w: it is neither an event with a key nor a status with a date", fds.ErrItem)
	}
	return err
}

func changes(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// told is what a person may want to know at the end.
func (d *database) told(ctx context.Context) (string, error) {
	var messages, again, dead int
	err := d.db.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(times - 1), 0), (SELECT count(*) FROM dead_letters) FROM handled`).Scan(&messages, &again, &dead)
	return fmt.Sprintf("%d messages with a key, which came again %d times; %d dead letters", messages, again, dead), err
}

// about is the device or the space that an item is about.
func about(item fds.Item) (string, error) {
	for _, path := range [][]string{{"generic", "device_id"}, {"device_id"}, {"generic", "space_id"}} {
		if id, err := fds.As[string](item, path...); err == nil && id != "" {
			return id, nil
		}
	}
	return "", fmt.Errorf("%w: it names no device and no space", fds.ErrItem)
}

// verdict tells what is wrong with the message from what is wrong with the database, which may
// be away, busy or full: no message is to blame for that.
func verdict(err error) error {
	switch {
	case err == nil:
		return nil
	case ofTheMessage(err):
		return delivery.Terminate(err)
	}
	return delivery.NotNow(err)
}

func ofTheMessage(err error) bool {
	var refused *sqlite.Error
	if errors.As(err, &refused) {
		return refused.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
	}
	return errors.Is(err, fds.ErrItem)
}

// dead keeps what can never be used, for a person to look at. One row for equal bytes is enough.
func (d *database) dead(ctx context.Context, m delivery.Message, why error) error {
	digest := sha256.Sum256(m.Payload)
	_, err := d.db.ExecContext(ctx, insertDead, m.Owner.SubscriptionID.String(), hex.EncodeToString(digest[:]), why.Error(), m.Payload)
	return err
}
