package brokerconfig

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// access is what a rule of the ACL allows.
type access int

const (
	deny  access = 0
	read  access = 1
	write access = 2
)

// rule is a line of the ACL that says what somebody may do, read as Mosquitto does.
type rule struct {
	line    int // from 0
	user    string
	named   bool // a line "user" stands above it; otherwise it is for clients without a user name
	pattern bool // for all users
	access  access
	topic   string
}

// accessList is an ACL. Lines are kept as they are.
type accessList struct {
	lines  []string
	rules  []rule
	faulty map[int]string // what Mosquitto does not take, by line
}

const aclHead = `# Who may do what, for Mosquitto. broker-config adds and removes whole rules; what else stands here is
# left alone. Mosquitto reads it at its start and at SIGHUP. One line that it cannot read at SIGHUP
# has it let everybody read and write everything: look at what broker-config says before.

# An owner reads its own topics alone (M5) and publishes nothing (M7). %u is the common name of the
# client's certificate.
`

const (
	readOwn    = "fds/v2/%u/#"
	everything = "#"
)

// parseACL reads an ACL.
func parseACL(data []byte) *accessList {
	a := &accessList{faulty: map[int]string{}}
	if len(data) > 0 {
		a.lines = strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	}
	a.parse()
	return a
}

func (a *accessList) parse() {
	a.rules = a.rules[:0]
	clear(a.faulty)
	user, named := "", false
	for i, line := range a.lines {
		if strings.ContainsRune(line, 0) { // in a comment too
			a.faulty[i] = "has a NUL, which hides what follows"
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		word, rest := cutSpace(strings.TrimRight(line, space))
		switch word {
		case "":
		case "user":
			if rest = strings.Trim(rest, space); rest == "" {
				a.faulty[i] = "names no user"
				continue
			}
			user, named = rest, true
		case "topic", "pattern":
			r := rule{line: i, pattern: word == "pattern", access: read | write}
			if !r.pattern {
				r.user, r.named = user, named
			}
			first, topic := cutSpace(rest)
			if topic = strings.Trim(topic, space); topic == "" {
				r.topic = first // for reading and writing
			} else {
				r.topic = topic
				switch first {
				case "read":
					r.access = read
				case "write":
					r.access = write
				case "readwrite":
				case "deny":
					r.access = deny
				default:
					a.faulty[i] = fmt.Sprintf("allows %.40q, which is none of read, write, readwrite, deny", first)
					continue
				}
			}
			if !isFilter(r.topic) {
				a.faulty[i] = fmt.Sprintf("names %.100q, which is no topic", r.topic)
				continue
			}
			a.rules = append(a.rules, r)
		default:
			a.faulty[i] = fmt.Sprintf("begins with %.40q, which Mosquitto does not know", word)
		}
	}
}

const space = " \t\n\v\f\r" // as C's isspace has it

// cutSpace cuts the first word off, as Mosquitto does: blanks alone part words.
func cutSpace(text string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(text, " "), " ")
	return word, rest
}

// isFilter reports whether Mosquitto takes a topic filter.
func isFilter(topic string) bool {
	if topic == "" || len(topic) > 65535 || strings.ContainsRune(topic, 0) {
		return false
	}
	levels := strings.Split(topic, "/")
	for i, level := range levels {
		if strings.Contains(level, "+") && level != "+" || strings.Contains(level, "#") && (level != "#" || i != len(levels)-1) {
			return false
		}
	}
	return true
}

// amend has the ACL allow what it should: publishers say to whom each connection publishes, shutOut
// are owners who may do nothing. Rules of the same form for others are taken out, all other lines
// stay as they are.
func (a *accessList) amend(publishers map[string][]string, shutOut []string) {
	if len(a.lines) == 0 {
		a.lines = strings.Split(strings.TrimSuffix(aclHead, "\n"), "\n")
	}
	if !slices.ContainsFunc(a.rules, rule.readsOwn) {
		at := 0 // behind the first comments
		for at < len(a.lines) && (strings.HasPrefix(a.lines[at], "#") || strings.TrimSpace(a.lines[at]) == "") {
			at++
		}
		a.lines = slices.Insert(a.lines, at, "pattern read "+readOwn)
		a.parse()
	}
	wanted := make(map[string][]string, len(publishers)+len(shutOut)) // topics, by user
	for name, owners := range publishers {
		for _, owner := range owners {
			wanted[name] = append(wanted[name], treeOf(owner))
		}
	}
	for _, name := range shutOut {
		wanted[name] = []string{everything}
	}
	missing := make(map[string]map[string]bool, len(wanted))
	for user, topics := range wanted {
		missing[user] = setOf(topics)
	}
	drop := map[int]bool{}
	for _, r := range a.rules {
		switch _, of := missing[r.user][r.topic]; {
		case !r.generated():
		case of:
			missing[r.user][r.topic] = false // found
		default:
			drop[r.line] = true
		}
	}
	// added returns the lines that a user still lacks, once.
	added := func(user string) (lines []string) {
		for _, topic := range wanted[user] {
			if missing[user][topic] {
				missing[user][topic] = false
				kind := "write"
				if topic == everything {
					kind = "deny"
				}
				lines = append(lines, "topic "+kind+" "+topic)
			}
		}
		return lines
	}
	a.rebuild(drop, added)
	for _, user := range slices.SortedFunc(maps.Keys(wanted), compareNames) {
		if lines := added(user); len(lines) > 0 {
			a.lines = append(append(a.lines, "", "user "+user), lines...)
		}
	}
	a.parse()
}

// readsOwn reports whether the rule lets every owner read its own topics.
func (r rule) readsOwn() bool { return r.pattern && r.access&read != 0 && r.topic == readOwn }

// generated reports whether a rule is one that amend writes, whether it should stand there or not.
func (r rule) generated() bool {
	switch {
	case !r.named || r.pattern:
		return false
	case isOwner(r.user):
		return r.access == deny && r.topic == everything
	case isConnection(r.user):
		owner, ok := ownerOf(r.topic)
		return r.access == write && ok && r.topic == treeOf(owner)
	}
	return false
}

// rebuild takes lines out, and puts others below the first line "user" of whom they are for.
func (a *accessList) rebuild(drop map[int]bool, added func(user string) []string) {
	var made []string
	for i := 0; i < len(a.lines); i++ {
		if drop[i] {
			continue
		}
		user, ok := userOf(a.lines[i])
		if !ok {
			made = append(made, a.lines[i])
			continue
		}
		first, rules := i, i+1
		for i+1 < len(a.lines) && isTopic(a.lines[i+1]) {
			i++
		}
		var below []string
		for n, line := range a.lines[rules : i+1] {
			if !drop[rules+n] {
				below = append(below, line)
			}
		}
		below = append(below, added(user)...)
		if len(below) == 0 && i > first && a.endsAt(i+1) {
			if n := len(made) - 1; n >= 0 && strings.TrimSpace(made[n]) == "" {
				made = made[:n]
			}
			continue
		}
		made = append(append(made, a.lines[first]), below...)
	}
	a.lines = made
}

// endsAt reports whether no rule of a user stands at line i or below, so that the line "user" may
// go: what stood there would become another user's.
func (a *accessList) endsAt(i int) bool {
	for ; i < len(a.lines); i++ {
		if isTopic(a.lines[i]) {
			return false
		}
		if _, ok := userOf(a.lines[i]); ok {
			return true
		}
	}
	return true
}

func isTopic(line string) bool {
	word, _ := cutSpace(line)
	return word == "topic"
}

// userOf returns of whom the rules below a line are. A line that names nobody or has a NUL, which
// Mosquitto does not take, leaves them to who was named before.
func userOf(line string) (user string, ok bool) {
	word, rest := cutSpace(line)
	user = strings.Trim(rest, space)
	return user, word == "user" && user != "" && !strings.ContainsRune(line, 0)
}

// compareNames orders connections by their numbers.
func compareNames(a, b string) int {
	x, y := numbered.FindStringSubmatch(a), numbered.FindStringSubmatch(b)
	if x != nil && y != nil && x[1] == y[1] {
		return cmp.Or(len(x[2])-len(y[2]), strings.Compare(x[2], y[2]))
	}
	return strings.Compare(a, b)
}

func (a *accessList) bytes() []byte {
	var b bytes.Buffer
	for _, line := range a.lines {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// treeOf returns all topics of an owner.
func treeOf(owner string) string { return "fds/v2/" + owner + "/#" }

// ownerOf returns the owner whose topics a filter names, and those alone.
func ownerOf(topic string) (owner string, ok bool) {
	rest, ok := strings.CutPrefix(topic, "fds/v2/")
	owner, _, below := strings.Cut(rest, "/")
	return owner, ok && below && isOwner(owner)
}
