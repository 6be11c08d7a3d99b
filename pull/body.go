package pull

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
)

// maxOpening bounds the white space before an answer that does not call itself JSON.
const maxOpening = 4 << 10

var byteOrderMark = []byte("\xef\xbb\xbf")

// content is an answer's body as it was meant: out of the coding that some name by its
// old name (RFC 9110 section 8.4.1.3), and without a byte order mark.
type content struct {
	body   io.ReadCloser
	zipped bool

	from io.Reader // nil: nothing was read
	head []byte    // that was read, and is to be given
	err  error     // that comes after head
}

// unpack puts a response's content in place of its body. Whatever it is coded in
// otherwise stays, and is refused where it is read.
func unpack(response *http.Response) {
	var codings []string
	for _, line := range response.Header.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = strings.ToLower(strings.TrimSpace(coding)); coding != "" && coding != "identity" {
				codings = append(codings, coding)
			}
		}
	}
	zipped := len(codings) == 1 && (codings[0] == "gzip" || codings[0] == "x-gzip")
	if zipped || len(codings) == 0 {
		response.Header.Del("Content-Encoding")
	}
	response.Body = &content{body: response.Body, zipped: zipped}
}

func (c *content) Close() error { return c.body.Close() }

func (c *content) Read(p []byte) (int, error) {
	c.begin()
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.from.Read(p)
}

// begin reads what may be a byte order mark.
func (c *content) begin() {
	if c.from != nil {
		return
	}
	c.from = c.body
	if c.zipped {
		unzipped, err := gzip.NewReader(c.body)
		if err != nil {
			c.err = err
			return
		}
		c.from = unzipped
	}
	for len(c.head) < len(byteOrderMark) && c.err == nil {
		c.more(len(byteOrderMark) - len(c.head))
	}
	c.head = bytes.TrimPrefix(c.head, byteOrderMark)
}

// more reads up to so many bytes to head.
func (c *content) more(most int) {
	piece := make([]byte, most)
	n, err := c.from.Read(piece)
	c.head = append(c.head, piece[:n]...)
	c.err = err
}

// looksLikeJSON reports whether the first byte after white space begins a list or an
// object. It waits for that byte.
func (c *content) looksLikeJSON() (bool, error) {
	c.begin()
	for {
		if rest := bytes.TrimLeft(c.head, " \t\r\n"); len(rest) > 0 {
			return rest[0] == '[' || rest[0] == '{', nil
		}
		if len(c.head) > maxOpening || errors.Is(c.err, io.EOF) {
			return false, nil
		}
		if c.err != nil {
			return false, c.err
		}
		c.more(512)
	}
}

// isUntyped reports whether a media type says nothing of what a body is: servers give it to
// whatever they have no type for.
func isUntyped(kind string) bool {
	return slices.Contains([]string{"text/plain", "application/octet-stream", "binary/octet-stream", "application/unknown"}, kind)
}
