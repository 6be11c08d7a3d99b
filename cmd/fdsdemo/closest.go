package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// meant suggests a word in place of one that is none, or says nothing.
func meant(typed string, words []string) string {
	return suggested(closest(typed, words))
}

func suggested(word string) string {
	if word == "" {
		return ""
	}
	return "; did you mean " + word + "?"
}

// commandsOf are the names of the commands below c.
func commandsOf(c *cobra.Command) []string {
	var names []string
	for _, below := range c.Commands() {
		names = append(names, below.Name())
	}
	return names
}

// meantFlag suggests a flag in place of one that there is not.
func meantFlag(c *cobra.Command, err error) string {
	typed, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !unknown {
		return ""
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if typed = closest(typed, names); typed != "" {
		typed = "--" + typed
	}
	return suggested(typed)
}

// closest returns which of the words may have been meant, the first of those that differ least, or
// that begin with what was typed; "": none is near.
func closest(typed string, words []string) string {
	typed = strings.ToLower(typed)
	best, least := "", -1
	for _, word := range words {
		d := distance(typed, strings.ToLower(word))
		if len(typed) > 2 && strings.HasPrefix(strings.ToLower(word), typed) {
			d = min(d, 1)
		}
		if len(word) <= 3 && len(typed) == len(word) && typed[0] != word[0] && d == 1 {
			continue // of a word so short the first letter is no slip
		}
		if near := d <= max(1, min(len(typed), len(word))/3); near && (least < 0 || d < least) {
			best, least = word, d
		}
	}
	return best
}

// distance is how many characters are to be put in, left out, replaced, or exchanged with the next
// one, to make a of b (optimal string alignment). Of what is very long it looks at the beginning.
func distance(a, b string) int {
	const most = 64
	x, y := []rune(a), []rune(b)
	x, y = x[:min(len(x), most)], y[:min(len(y), most)]
	before, last, now := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		now[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			now[j+1] = min(now[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(y)]
}
