package webapi

import "encoding/json"

// Dialect is what FDS leaves open about lists. A parameter without a name is not
// known: a request with it is refused. Names must differ from one another and
// from ids and those of TimeRange.
type Dialect struct {
	IDsSeparator      string // between the IDs in ids; default ","
	ListMember        string // member of the answer that holds the array; "": the answer is the array
	LanguageParameter string // chooses a language, which Content-Language then names; on every list
	TagParameter      string // chooses one tag by its ID, which is then answered alone
}

// body gives the answer to a list, each item byte for byte.
func (d Dialect) body(items []json.RawMessage) []byte {
	list := array(items)
	if d.ListMember == "" {
		return list
	}
	out := append(make([]byte, 0, len(list)+len(d.ListMember)+8), '{')
	out = append(out, quoted(d.ListMember)...)
	out = append(out, ':')
	out = append(out, list...)
	return append(out, '}')
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
