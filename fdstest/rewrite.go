package fdstest

import (
	"net/http"
	"strconv"

	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
)

// Reply is an answer of one of the HTTP servers before it is sent, or what a webhook answered.
type Reply struct {
	Status int
	Header http.Header // a member of no values is not sent, and none is guessed
	Body   []byte      // as it is before compression

	// Cut announces a body that is longer than Body and drops the connection after
	// it, over HTTP/2 its stream.
	Cut bool
}

// RewriteAnswer has rewrite change every answer of an endpoint, after the work was
// done. It is called from several goroutines.
func RewriteAnswer(at Endpoint, rewrite func(*Reply)) Fault {
	return inReplies("RewriteAnswer", at, nil, rewrite)
}

// AnswerAfterWork does what was asked and answers otherwise: 502 or 504, as a
// gateway does that has lost its server, so that the answer is lost; 204 where
// 200 was due. contentType "" sends none.
func AnswerAfterWork(at Endpoint, status int, contentType, body string) Fault {
	return inReplies("AnswerAfterWork", at, nil, func(r *Reply) {
		r.Status, r.Body = status, []byte(body)
		r.setType(contentType)
	})
}

// ContentType sends every answer of an endpoint under another content type: JSON
// as text/plain, for one. "" sends none.
func ContentType(at Endpoint, contentType string) Fault {
	return inReplies("ContentType", at, nil, func(r *Reply) { r.setType(contentType) })
}

// byteOrderMark is U+FEFF in UTF-8, which JSON must not begin with and a reader
// may ignore (RFC 8259 section 8.1).
const byteOrderMark = "\ufeff"

// ByteOrderMark puts a byte order mark in front of every answer of an endpoint.
func ByteOrderMark(at Endpoint) Fault {
	return inReplies("ByteOrderMark", at, nil, func(r *Reply) { r.Body = append([]byte(byteOrderMark), r.Body...) })
}

// setType sets the content type, "" for none.
func (r *Reply) setType(contentType string) {
	if r.Header["Content-Type"] = nil; contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
}

// inReplies makes a fault that changes the answers of an endpoint which concern it,
// all where concerns is nil. Others pass and do not count for Fault.Times.
func inReplies(name string, at Endpoint, concerns func(*Reply) bool, rewrite func(*Reply)) Fault {
	return Fault{name: name, install: func(p *Provider, take func() bool) (func(), error) {
		if err := at.check(); err != nil {
			return nil, err
		}
		return p.http.add(&httpFault{
			at:   at,
			take: func() bool { return true },
			serve: func(w http.ResponseWriter, r *http.Request, next http.Handler, _ <-chan struct{}) {
				done := record(webapi.Plain(r), next)
				reply := &Reply{Status: done.status, Header: done.header, Body: done.body.Bytes()}
				if (concerns == nil || concerns(reply)) && take() {
					rewrite(reply)
				}
				reply.send(w)
			},
			off: make(chan struct{}),
		}), nil
	}}
}

func (r *Reply) send(w http.ResponseWriter) {
	header := w.Header()
	for key, values := range r.Header {
		header[key] = values
	}
	header.Del("Content-Length")
	if r.Cut {
		header.Set("Content-Length", strconv.Itoa(len(r.Body)+1))
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body)
	if r.Cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
