package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// blocks are those of the page in a language, each line without the indent of a list.
func blocks(t *testing.T, language string) (all []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/exactly-once.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)\n( *)```"+language+"\n(.*?)```").FindAllStringSubmatch(strings.ReplaceAll(string(page), "\r\n", "\n"), -1) {
		all = append(all, strings.ReplaceAll("\n"+m[2], "\n"+m[1], "\n"))
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
			if !known[statement] && !prunes {
				t.Errorf("the program has no %s", statement)
			}
			args := []any{"an owner", "soap-1", 1, "text"}
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
	if seen != 8 {
		t.Errorf("the page has %d statements", seen)
	}
}

func TestTheGoOfThePageIsTheProgramsOwn(t *testing.T) {
	source, err := os.ReadFile("database.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks(t, "go") {
		if !strings.Contains(strings.ReplaceAll(string(source), "\r\n", "\n"), block) {
			t.Errorf("database.go has no\n%s", block)
		}
	}
}
