package webapi

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
)

// compressed returns an answer in gzip to a client that takes it (RFC 9110 section
// 12.5.3), if the dialect has it so.
func (a *API) compressed(r *http.Request, ans answer) answer {
	if !a.cfg.Dialect.Compress {
		return ans
	}
	if ans.header == nil {
		ans.header = http.Header{}
	}
	ans.header.Set("Vary", "Accept-Encoding")
	if !a.codesGzip(r) || len(ans.body) == 0 {
		return ans
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(ans.body) // a buffer takes everything
	_ = w.Close()
	ans.header.Set("Content-Encoding", "gzip")
	ans.body = out.Bytes()
	return ans
}

// codesGzip reports whether the answer to a request has its body in gzip.
func (a *API) codesGzip(r *http.Request) bool {
	return a.cfg.Dialect.Compress && acceptsGzip(r.Header.Values("Accept-Encoding"))
}

// acceptsGzip reads Accept-Encoding: gzip counts if it is named, also by its old
// name, or else if * is, each with a weight above 0.
func acceptsGzip(fields []string) bool {
	named, others := -1.0, 0.0
	for element := range strings.SplitSeq(strings.Join(fields, ","), ",") {
		coding, parameters, _ := strings.Cut(element, ";")
		weight := weightOf(parameters)
		switch strings.ToLower(strings.Trim(coding, " \t")) {
		case "gzip", "x-gzip":
			named = max(named, weight)
		case "*":
			others = weight
		}
	}
	if named < 0 {
		return others > 0
	}
	return named > 0
}

// weightOf returns a quality value (RFC 9110 section 12.4.2); without one it is 1,
// and 0 when it is malformed.
func weightOf(parameters string) float64 {
	name, value, _ := strings.Cut(strings.Trim(parameters, " \t"), "=")
	if name == "" {
		return 1
	}
	weight, err := strconv.ParseFloat(value, 64)
	if err != nil || !strings.EqualFold(name, "q") || !(0 <= weight && weight <= 1) {
		return 0
	}
	return weight
}

// Plain returns a request that is answered whole and uncompressed, so that its
// answer can be tampered with.
func Plain(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Accept-Encoding")
	r.Header.Del("If-None-Match")
	return r
}
