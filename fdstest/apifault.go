package fdstest

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"sync"

	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
)

// NextPageIsItself has every page of a list name itself as the next one, in its
// cursor, its Link header and its NextMember, so that who follows comes round for
// ever. It needs WebAPI.Paging with one of these: Inject panics without.
func NextPageIsItself(at Endpoint) Fault {
	return inLists("NextPageIsItself", at, webapi.Odd{OwnNext: true}, Paging.namesNext)
}

// LoseTagAnswer makes the tag that POST /fds/v2/tag asks for, and drops the
// connection (over HTTP/2 its stream) instead of answering 201: whoever asks
// again makes a second one. Other requests and refusals pass, and do not count
// for Fault.Times.
func LoseTagAnswer() Fault {
	return Fault{name: "LoseTagAnswer", install: func(p *Provider, take func() bool) (func(), error) {
		return p.http.add(&httpFault{
			at:   APIPath("tag"),
			take: func() bool { return true },
			serve: func(w http.ResponseWriter, r *http.Request, next http.Handler, _ <-chan struct{}) {
				if r.Method != http.MethodPost {
					next.ServeHTTP(w, r)
					return
				}
				done := record(r, next)
				if done.status == http.StatusCreated && take() {
					panic(http.ErrAbortHandler)
				}
				done.replay(w)
			},
			off: make(chan struct{}),
		}), nil
	}}
}

// bombMember is how much of a gzip bomb is sent at a time, inflated.
const bombMember = 16 << 20

// bomb is that much white space in gzip, about 16 KB. Members of a gzip file may
// follow one another (RFC 1952 section 2.2).
var bomb = sync.OnceValue(func() []byte {
	return inGzip(bytes.Repeat([]byte(" "), bombMember))
})

func inGzip(text []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic("fdstest: gzip has no best compression: " + err.Error())
	}
	_, _ = w.Write(text) // a buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// GzipBomb puts n bytes of white space, rounded up to 16 MiB, in front of every
// answer and sends it in gzip, a thousandth of its size, whether the client
// accepts that or not. The answer is well-formed JSON and only its size is wrong.
// It is produced as the client reads, at the cost of 16 KB of memory, so that n
// may well be terabytes; when the fault is switched off, the connection breaks.
func GzipBomb(at Endpoint, n int64) Fault {
	return atHTTP("GzipBomb", at, func(w http.ResponseWriter, r *http.Request, next http.Handler, off <-chan struct{}) {
		done := record(webapi.Plain(r), next)
		if done.body.Len() == 0 || r.Method == http.MethodHead {
			done.replay(w)
			return
		}
		done.copyHeader(w)
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(done.status)
		for left := n; left > 0; left -= bombMember {
			if isClosed(off) || !send(w, r, bomb(), 0, off) {
				panic(http.ErrAbortHandler)
			}
		}
		_, _ = w.Write(inGzip(done.body.Bytes()))
	})
}
