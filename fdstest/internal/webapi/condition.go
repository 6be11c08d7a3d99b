package webapi

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
)

// conditional returns an answer to a GET a strong validator, and leaves the body
// out when the client has it already (RFC 9110 sections 8.8.3 and 13.1.2).
func (a *API) conditional(r *http.Request, ans answer) answer {
	tag := entityTag(ans, a.codesGzip(r))
	ans.header.Set("ETag", tag)
	ans.header.Set("Cache-Control", "private, no-cache") // may be kept, but not used without asking
	if !namesTag(r.Header.Values("If-None-Match"), tag) {
		return ans
	}
	return answer{status: http.StatusNotModified, header: http.Header{"Etag": {tag}, "Cache-Control": ans.header["Cache-Control"]}}
}

// entityTag is of the body and of the Link to the next page, which can change
// without the body: a client that has a page must not miss that one came behind
// it. The same in gzip is another representation, and its tag another one
// (section 8.8.3.3).
func entityTag(ans answer, inGzip bool) string {
	h := sha256.New()
	_, _ = h.Write(ans.body) // a hash never fails
	_, _ = io.WriteString(h, ans.header.Get("Link"))
	tag := hex.EncodeToString(h.Sum(nil)[:16])
	if inGzip {
		tag += "-gzip"
	}
	return `"` + tag + `"`
}

// namesTag reports whether the fields of If-None-Match are * or name an entity tag,
// weak or not (RFC 9110 section 8.8.3.2). A field that is malformed names what
// stands in front of the fault.
func namesTag(fields []string, tag string) bool {
	rest := strings.Trim(strings.Join(fields, ","), " \t")
	if rest == "*" {
		return true
	}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		opaque, quoted := strings.CutPrefix(strings.TrimPrefix(rest, "W/"), `"`)
		value, after, closed := strings.Cut(opaque, `"`) // an entity tag may hold commas but no quotes
		if !quoted || !closed {
			return false
		}
		if `"`+value+`"` == tag {
			return true
		}
		rest = after
	}
}
