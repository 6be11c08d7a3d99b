package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// blocks are those of the page in a language, each line without the indent of a list.
func blocks(t *testing.T, language string) (all []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/exactly-once.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?sm)^( *)```"+language+"\n(.*?)```").FindAllStringSubmatch(strings.ReplaceAll(string(page), "\r\n", "\n"), -1) {
		all = append(all, strings.ReplaceAll(m[2], "\n"+m[1], "\n"))
	}
	if len(all) == 0 {
		t.Fatalf("the page has no %s", language)
	}
	return all
}

// spaced has one space for all white space, and no comment.
func spaced(sql string) string {
	return strings.Join(strings.Fields(regexp.MustCompile(`--.*`).ReplaceAllString(sql, "")), " ")
}

func statements() (all []string) {
	for _, block := range []string{schema, insertKey, countKey, insertEvent, countEvent, upsertState, insertDead} {
		for statement := range strings.SplitSeq(spaced(block), ";") {
			all = append(all, strings.TrimSpace(statement))
		}
	}
	return all
}

// TestTheSQLOfThePageIsTheProgramsAndRuns runs it in the order of the page.
func TestTheSQLOfThePageIsTheProgramsAndRuns(t *testing.T) {
	d, _ := open(t)
	known := map[string]bool{}
	for _, statement := range statements() {
		known[statement] = true
	}
	seen := 0
	for _, block := range blocks(t, "sql") {
		for statement := range strings.SplitSeq(spaced(block), ";") {
			if statement = strings.TrimSpace(statement); statement == "" {
				continue
			}
			seen++
			prunes := strings.HasPrefix(statement, "DELETE ")
			if !known[statement] && !prunes && !strings.Contains(statement, "RETURNING") {
				t.Errorf("the program has no %s", statement)
			}
			args := []any{"an owner", "soap-1", 1, "text", 2, "more"}
			if prunes {
				args[0] = time.Now().AddDate(-1, 0, 0)
			}
			for len(args) > 0 && !strings.Contains(statement, fmt.Sprintf("?%d", len(args))) { // it takes fewer
				args = args[:len(args)-1]
			}
			if _, err := d.db.ExecContext(t.Context(), statement, args...); err != nil {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
	if seen != 9 {
		t.Errorf("the page has %d statements", seen)
	}
}

// What the page shows besides.

func fetched(owner fds.OwnerKey, event fds.Item, dialect *fds.Dialect) delivery.Message {
	return delivery.Message{Owner: owner, Source: delivery.FromBackfill, Kind: delivery.KindEvent, Payload: event.Raw()}.In(dialect)
}

func TestWhatIsReadAgainAfterARestoreIsDoneOnce(t *testing.T) {
	d, _ := open(t)
	if err := d.one(t.Context(), event(1)); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		item, err := event(n).Item()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.one(t.Context(), fetched(owner, item, &dialect)); err != nil {
			t.Error(err)
		}
	}
	counted(t, d, `SELECT events FROM counts`, 3)
	counted(t, d, `SELECT count(*) FROM handled WHERE first_by = 'push' AND last_by = 'backfill' AND times = 2`, 1)
}

func TestOneInsertOfManyKeysReturnsTheNewOnes(t *testing.T) {
	d, _ := open(t)
	all := blocks(t, "sql")
	insert := all[slices.IndexFunc(all, func(block string) bool { return strings.Contains(block, "RETURNING") })]
	for _, c := range []struct{ keys, inserted string }{{"a b", "a b"}, {"b c", "c"}, {"d d", "d"}, {"a d", ""}} {
		first, second, _ := strings.Cut(c.keys, " ")
		rows, err := d.db.QueryContext(t.Context(), insert, "an owner", first, "an owner", second, time.Now(), delivery.FromPush)
		if err != nil {
			t.Fatal(err)
		}
		var inserted []string
		for rows.Next() {
			var owner, key string
			if err := rows.Scan(&owner, &key); err != nil {
				t.Fatal(err)
			}
			inserted = append(inserted, key)
		}
		if err := rows.Close(); err != nil || strings.Join(inserted, " ") != c.inserted {
			t.Errorf("of %s it returned %q, want %s: %v", c.keys, inserted, c.inserted, err)
		}
	}
}
