package webapi

import (
	"bytes"
	"encoding/json"
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

// answer gives the part of a list that is asked for, each item byte for byte.
func (d Dialect) answer(r *http.Request, asked page, items []json.RawMessage) answer {
	from, to := asked.bounds(len(items))
	next := d.Paging.next(r.Context(), asked, from, to, len(items))
	even := asked.size > 0 && from/asked.size%2 == 1
	body := array(items[from:to])
	if d.ListMember != "" {
		members := [][]byte{append([]byte(quoted(d.ListMember)+":"), body...)}
		if d.Paging.CursorMember != "" && (next != "" || from > 0) { // a list of one page has no cursor, the last of several an empty one
			members = append(members, []byte(nested(strings.Split(d.Paging.CursorMember, "."), next)))
		}
		if even {
			slices.Reverse(members) // members have no order (RFC 8259 section 4)
		}
		body = slices.Concat([]byte("{"), bytes.Join(members, []byte(",")), []byte("}"))
	}
	ans := jsonAnswer(http.StatusOK, body)
	if d.Paging.LinkHeader && next != "" {
		ans.header.Set("Link", d.Paging.link(r, next, even))
	}
	return ans
}

// nested gives a member, in objects below one another, without the braces of the
// outermost.
func nested(path []string, value string) string {
	if len(path) == 1 {
		return quoted(path[0]) + ":" + quoted(value)
	}
	return quoted(path[0]) + ":{" + nested(path[1:], value) + "}"
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
