package webapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Dialect is what FDS leaves open about lists. A parameter without a name is not
// known: a request with it is refused. Names must differ from one another and
// from ids and those of TimeRange.
type Dialect struct {
	IDsSeparator      string // between the IDs in ids; default ","
	ListMember        string // member of the answer that holds the array; "": the answer is the array
	LanguageParameter string // chooses a language, which Content-Language then names; on every list
	TagParameter      string // chooses one tag by its ID, which is then answered alone

	SubscriptionParameter string // names one of the token's owners; on every request

	Paging   Paging
	Compress bool // answers in gzip to who takes it
}

// answer returns the part of a list that is asked for, each item byte for byte.
func (d Dialect) answer(r *http.Request, asked page, items []json.RawMessage) answer {
	odd := oddOf(r.Context())
	from, to := asked.bounds(len(items))
	if odd.PastEnd != 0 && asked.size > 0 && from == to && (asked.number > 0 || asked.offset > 0) {
		return failure(odd.PastEnd, "")
	}
	next := d.Paging.next(odd, asked, from, to, len(items))
	even := asked.size > 0 && from/asked.size%2 == 1
	body := array(items[from:to])
	if odd.Null && from == to {
		body = []byte("null")
	}
	if d.ListMember != "" {
		members := [][]byte{append([]byte(quoted(d.ListMember)+":"), body...)}
		members = append(members, d.besides(r, from, next, odd.OwnNext || to < len(items), even)...)
		if even {
			slices.Reverse(members) // members have no order (RFC 8259 section 4)
		}
		body = slices.Concat([]byte("{"), bytes.Join(members, []byte(",")), []byte("}"))
	}
	ans := jsonAnswer(http.StatusOK, body)
	if d.Paging.LinkHeader && next != "" {
		ans.header.Set("Link", "<"+d.Paging.reference(r, next, even)+`>; rel="next"`)
	}
	return ans
}

// besides returns the members of an answer beside its list, each with its name.
func (d Dialect) besides(r *http.Request, from int, next string, more, even bool) [][]byte {
	root := make(map[string]any)
	set := func(path string, value any) {
		names := strings.Split(path, ".")
		object := root
		for _, name := range names[:len(names)-1] {
			below, ok := object[name].(map[string]any)
			if !ok {
				below = make(map[string]any)
				object[name] = below
			}
			object = below
		}
		object[names[len(names)-1]] = value
	}
	if d.Paging.CursorMember != "" && (next != "" || from > 0) { // a list of one page has no cursor, the last of several an empty one
		set(d.Paging.CursorMember, next)
	}
	if d.Paging.NextMember != "" {
		set(d.Paging.NextMember, nil)
		if next != "" {
			set(d.Paging.NextMember, d.Paging.reference(r, next, even))
		}
	}
	if d.Paging.MoreMember != "" {
		set(d.Paging.MoreMember, more)
	}
	var members [][]byte
	for _, name := range slices.Sorted(maps.Keys(root)) {
		value, _ := json.Marshal(root[name]) // all of it has a form in JSON
		members = append(members, append([]byte(quoted(name)+":"), value...))
	}
	return members
}

func array(items []json.RawMessage) []byte {
	size := len("[]") + len(items)
	for _, item := range items {
		size += len(item)
	}
	body := make([]byte, 0, size)
	body = append(body, '[')
	for i, item := range items {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, item...)
	}
	return append(body, ']')
}
