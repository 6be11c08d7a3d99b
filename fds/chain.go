package fds

import "fmt"

// MaxChain bounds the spaces of one chain.
const MaxChain = 64

// PartOf gives the spaces that this one is part of, the nearest first: of a
// floor the building, then the site. It reads generic.part_of, whose
// space_chain nests the next space in its own generic.part_of, and ends before
// the void. Errors match ErrItem; a chain of more than MaxChain spaces is one.
// The time is linear in the size of the space, whatever it holds.
func (s Space) PartOf() ([]Space, error) {
	var chain []Space
	for at, _ := readLink(s.raw, skipSpace(s.raw, 0), 0); ; at = at.next {
		if at.malformed {
			return nil, fmt.Errorf("fds: generic.part_of of space %s: %w: it is not a JSON object", quoteBounded(at.id), ErrItem)
		}
		if at.next == nil || at.next.isVoid() {
			return chain, nil
		}
		if len(chain) == MaxChain {
			return nil, fmt.Errorf("fds: generic.part_of of space %s: %w: over %d spaces in the chain", quoteBounded(s.ID()), ErrItem, MaxChain)
		}
		chain = append(chain, Space{Item{at.next.raw}}) // valid, as a part of a valid item
	}
}

// chainLink is what a chain needs to know of one space, read in a single pass:
// each space encloses all that follow, so that a pass for each would make a long
// chain slow.
type chainLink struct {
	raw                       []byte
	id, genericType, rootType string
	next                      *chainLink // generic.part_of; nil when there is none
	malformed                 bool       // generic.part_of is neither an object nor null
}

func (l *chainLink) isVoid() bool {
	kind := l.genericType
	if kind == "" {
		kind = l.rootType
	}
	return kind == string(SpaceNothing) || l.id == VoidSpaceID
}

// readLink reads the space that begins at i and the next ones, up to one more
// than a chain may have. It gives the position after the space.
func readLink(b []byte, i, depth int) (*chainLink, int) {
	link := &chainLink{}
	text := func(field *string, at int) int {
		end := skipValue(b, at)
		*field, _ = stringValue(b[at:end])
		return end
	}
	generic := func(name []byte, at int) int {
		switch string(name) {
		case "space_type":
			return text(&link.genericType, at)
		case "part_of":
			var end int
			link.next, link.malformed = nil, false
			if b[at] == '{' && depth <= MaxChain {
				link.next, end = readLink(b, at, depth+1)
				return end
			}
			end = skipValue(b, at)
			link.malformed = b[at] != '{' && string(b[at:end]) != "null"
			return end
		}
		return skipValue(b, at)
	}
	end := walkMembers(b, i, func(name []byte, at int) int {
		switch string(name) {
		case "space_id":
			return text(&link.id, at)
		case "space_type":
			return text(&link.rootType, at)
		case "generic": // of two the last counts
			link.genericType, link.next, link.malformed = "", nil, false
			if b[at] == '{' {
				return walkMembers(b, at, generic)
			}
		}
		return skipValue(b, at)
	})
	link.raw = b[i:end:end]
	return link, end
}
