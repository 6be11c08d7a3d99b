package fds

import "fmt"

// MaxChain bounds the spaces of one chain.
const MaxChain = 64

// PartOf returns the spaces that this one is part of, the nearest first: of a
// floor the building, then the site. It reads generic.part_of, whose
// space_chain nests the next space in its own generic.part_of, and ends before
// the void. Errors match ErrItem; a chain of more than MaxChain spaces is one.
// The time is linear in the size of the space, whatever it holds.
func (s Space) PartOf() ([]Space, error) {
	link, _ := readLink(s.raw, skipSpace(s.raw, 0), 0)
	links, _, err := link.outward()
	if err != nil {
		return nil, err
	}
	var chain []Space
	for _, l := range links {
		chain = append(chain, l.space())
	}
	return chain, nil
}

// outward returns the links of the spaces around this one, the nearest first, and
// whether they end in the void rather than for want of a part_of.
func (l *chainLink) outward() (links []*chainLink, toVoid bool, err error) {
	for at := l; ; at = at.next {
		switch {
		case at.malformed:
			return nil, false, fmt.Errorf("fds: generic.part_of of space %s: %w: it is not a JSON object", quoteBounded(at.id), ErrItem)
		case at.next == nil:
			return links, false, nil
		case at.next.isVoid():
			return links, true, nil
		case len(links) == MaxChain:
			return nil, false, fmt.Errorf("fds: generic.part_of of space %s: %w: over %d spaces in the chain", quoteBounded(l.id), ErrItem, MaxChain)
		}
		links = append(links, at.next)
	}
}

// chainLink is what a chain needs to know of one space, read in a single pass:
// each space encloses all that follow, so that a pass for each would make a long
// chain slow.
type chainLink struct {
	raw          []byte
	id           string
	genericType  string
	genericTyped bool // generic.space_type is a string
	rootType     string
	next         *chainLink // generic.part_of; nil when there is none
	malformed    bool       // generic.part_of is neither an object nor null
}

// kind is Space.Type.
func (l *chainLink) kind() SpaceType {
	if l.genericTyped {
		return SpaceType(l.genericType)
	}
	return SpaceType(l.rootType)
}

// isVoid is Space.IsVoid.
func (l *chainLink) isVoid() bool { return l.kind() == SpaceNothing || l.id == VoidSpaceID }

// space returns the whole space, valid as a part of a valid item.
func (l *chainLink) space() Space { return Space{Item{l.raw}} }

// readLink reads the space that begins at i and the next ones, up to one more
// than a chain may have. It returns the position after the space.
func readLink(b []byte, i, depth int) (*chainLink, int) {
	link := &chainLink{}
	text := func(field *string, at int) (end int, ok bool) {
		end = skipValue(b, at)
		*field, ok = stringValue(b[at:end])
		return end, ok
	}
	generic := func(name []byte, at int) (end int) {
		switch string(name) {
		case "space_type":
			end, link.genericTyped = text(&link.genericType, at)
			return end
		case "part_of":
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
			end := skipValue(b, at)
			link.id, _ = scalar(b[at:end])
			return end
		case "space_type":
			end, _ := text(&link.rootType, at)
			return end
		case "generic": // of two the last counts
			link.genericType, link.genericTyped, link.next, link.malformed = "", false, nil, false
			if b[at] == '{' {
				return walkMembers(b, at, generic)
			}
		}
		return skipValue(b, at)
	})
	link.raw = b[i:end:end]
	return link, end
}
