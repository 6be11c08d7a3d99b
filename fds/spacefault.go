package fds

import (
	"fmt"
	"slices"
	"strings"
)

// SpaceFaultKind is the class of a SpaceFault.
type SpaceFaultKind string

// The kinds of faults. FDS states the rules behind FaultMisplaced on its pages
// about the space types; the others follow from what an ID, part_of and
// composed_of are.
const (
	// FaultNoID: a space in the list has no space_id.
	FaultNoID SpaceFaultKind = "no_id"
	// FaultDuplicate: two spaces in the list have the ID of Space.
	FaultDuplicate SpaceFaultKind = "duplicate"
	// FaultMalformed: part_of or composed_of of Space is not what FDS says. The
	// fault matches ErrItem.
	FaultMalformed SpaceFaultKind = "malformed"
	// FaultSelf: part_of or composed_of names the space itself.
	FaultSelf SpaceFaultKind = "self"
	// FaultRepeated: composed_of of Space names Others[0] more than once.
	FaultRepeated SpaceFaultKind = "repeated"
	// FaultUnlisted: composed_of of Space names Others[0], which is not in the
	// list.
	FaultUnlisted SpaceFaultKind = "unlisted"
	// FaultOrphan: part_of of Space names Others[0], which is not in the list, and
	// its chain leads neither to a space in the list nor to a site or the void.
	FaultOrphan SpaceFaultKind = "orphan"
	// FaultCycle: Space is part of Others[0], that of Others[1], and so on, and
	// the last is part of Space. Space became a root: the one whose parent was
	// stated least directly, by composed_of, by a chain of another space, or by
	// its own part_of; of several the first in the list.
	FaultCycle SpaceFaultKind = "cycle"
	// FaultContested: composed_of of Others[0] and of Others[1] name Space, and no
	// part_of says where it is. The first became the parent.
	FaultContested SpaceFaultKind = "contested"
	// FaultContradiction: composed_of or part_of of Space says of Others[0] what
	// the part_of that decides does not say. If Others[1] is there it is the parent
	// of Others[0] in the tree.
	FaultContradiction SpaceFaultKind = "contradiction"
	// FaultMisplaced: a rule of FDS is broken. A site is part of the void and
	// composed of buildings, a building is part of a site and composed of floors, a
	// floor is part of a building, its chain goes on to the site, and it is
	// composed of physical spaces, which suites and sections are not; those are
	// part of a larger space. Spaces of other types cannot be misplaced. Others[0],
	// if there, is the space beside which Space is out of place.
	FaultMisplaced SpaceFaultKind = "misplaced"
)

// MaxSpaceFaults bounds the faults of each kind that a SpaceTree keeps, so that
// many of one kind hide none of another.
const MaxSpaceFaults = 100

// SpaceFault is what is wrong with a space in a list. As an error it is a
// sentence, in which IDs are quoted and cut, and safe for a log.
type SpaceFault struct {
	Kind   SpaceFaultKind
	Space  string   // the ID of the space
	Others []string // the IDs of the other spaces concerned, as the kind says

	sentence string
	cause    error
}

// Error says what is wrong and where.
func (f SpaceFault) Error() string { return "fds: space " + quoteBounded(f.Space) + ": " + f.sentence }

// Unwrap returns the error of Space.PartOf or Space.ComposedOf behind a
// FaultMalformed.
func (f SpaceFault) Unwrap() error { return f.cause }

// Faults returns what is wrong with the list: the first MaxSpaceFaults of each
// kind. The caller must not change the slice.
func (t *SpaceTree) Faults() []SpaceFault { return t.faults.kept }

// FaultCount returns the number of faults, also of those that were not kept.
func (t *SpaceTree) FaultCount() int { return t.faults.count }

// faultList keeps the first faults of each kind and counts all.
type faultList struct {
	kept  []SpaceFault
	count int
	kinds map[SpaceFaultKind]int
}

func (l *faultList) add(f SpaceFault, format string, args ...any) {
	l.count++
	if l.kinds == nil {
		l.kinds = make(map[SpaceFaultKind]int)
	}
	if l.kinds[f.Kind]++; l.kinds[f.Kind] > MaxSpaceFaults {
		return
	}
	for i, arg := range args {
		switch arg := arg.(type) {
		case *plot:
			if args[i] = "nothing"; arg != nil {
				args[i] = quoteBounded(arg.id)
			}
		case string:
			args[i] = quoteBounded(arg)
		case error:
			args[i] = strings.TrimPrefix(arg.Error(), "fds: ")
		}
	}
	f.sentence = fmt.Sprintf(format, args...)
	l.kept = append(l.kept, f)
}

// fault notes a fault of a space. In format, a space or an ID is written %s.
func (p *plan) fault(kind SpaceFaultKind, at *plot, others []string, format string, args ...any) {
	p.faults.add(SpaceFault{Kind: kind, Space: at.id, Others: others}, format, args...)
}

func (p *plan) malformed(at *plot, err error) {
	p.faults.add(SpaceFault{Kind: FaultMalformed, Space: at.id, cause: err}, "%s", err)
}

// words is a part of a sentence, while a string is an ID.
type words string

// some names the first few spaces of a list that may be long.
func some(ids []string) words {
	const most = 8
	var quoted []string
	for _, id := range ids[:min(len(ids), most)] {
		quoted = append(quoted, quoteBounded(id))
	}
	text := strings.Join(quoted, ", ")
	if len(ids) > most {
		text += fmt.Sprintf(" and %d more", len(ids)-most)
	}
	return words(text)
}

// idsOf returns the IDs of those that are there.
func idsOf(plots ...*plot) []string {
	var ids []string
	for _, at := range plots {
		if at != nil {
			ids = append(ids, at.id)
		}
	}
	return slices.Clip(ids)
}
