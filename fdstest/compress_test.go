package fdstest_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

// inflate returns what a body in gzip holds.
func inflate(t *testing.T, body string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(io.LimitReader(z, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnswersAreInGzipForClientsThatAcceptIt(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{Compress: true}}, strings.Fields(sevenDevices)...)
	plain := r.read("specifications", "Accept-Encoding", "identity")
	for accepted, want := range map[string]bool{
		"gzip": true, "GZIP": true, "x-gzip": true, "br, gzip;q=0.5": true, "gzip ; q=1": true, "gzip;Q=0.001": true, "*": true, "br,*;q=0.1": true,
		"identity": false, "": false, "br": false, "gzip;q=0": false, "*;q=0": false, "gzip;q=0, *": false, "gzip;q=x": false, "gzip;q=2": false, "gzip;q=NaN": false, "gzip;level=9": false,
	} {
		ans := r.read("specifications", "Accept-Encoding", accepted)
		if got := ans.header.Get("Content-Encoding") == "gzip"; got != want || ans.status != 200 || ans.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %d %v", accepted, ans.status, ans.header)
		} else if want && inflate(t, ans.body) != plain.body || !want && ans.body != plain.body {
			t.Errorf("%q: another body", accepted)
		}
		if same := ans.header.Get("ETag") == plain.header.Get("ETag"); same == want {
			t.Errorf("%q: ETag %s, plain %s", accepted, ans.header.Get("ETag"), plain.header.Get("ETag"))
		}
		if again := r.read("specifications", "Accept-Encoding", accepted, "If-None-Match", ans.header.Get("ETag")); again.status != 304 || again.body != "" ||
			again.header.Get("Content-Encoding") != "" || again.header.Get("Vary") != "Accept-Encoding" || again.header.Get("ETag") != ans.header.Get("ETag") {
			t.Errorf("%q: asked again: %d %v", accepted, again.status, again.header)
		}
	}
	// net/http asks for gzip and inflates by itself.
	if ans := r.read("specifications"); ans.body != plain.body {
		t.Errorf("%s", ans.body)
	}
}

func TestErrorsAndTagsAreInGzipToo(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{Compress: true}})
	stranger := *r
	stranger.bearer = "unknown"
	made := r.send(http.MethodPost, "tag", `{"tag_id":"t","generic":{}}`, "Accept-Encoding", "gzip")
	for want, ans := range map[string]answer{
		`"tag_id":"t"`:         made,
		"invalid_parameter":    r.read("spaces?x=1", "Accept-Encoding", "gzip"),
		"unauthorized_request": stranger.read("spaces", "Accept-Encoding", "gzip"),
	} {
		if ans.header.Get("Content-Encoding") != "gzip" || !strings.Contains(inflate(t, ans.body), want) {
			t.Errorf("%s: %d %v", want, ans.status, ans.header)
		}
	}
	if ans := r.send(http.MethodDelete, "tag/t", "", "Accept-Encoding", "gzip"); ans.status != 204 || ans.header.Get("Content-Encoding") != "" || ans.body != "" {
		t.Errorf("deleted: %d %v", ans.status, ans.header)
	}
}

func TestNothingIsInGzipUnlessTheOptionsSaySo(t *testing.T) {
	ans := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{SubscriptionParameter: "owner"}}, "A").read("specifications", "Accept-Encoding", "gzip")
	if ans.header.Get("Content-Encoding") != "" || ans.header.Get("Vary") != "" || ans.body != `[{"device_id":"A"}]` {
		t.Errorf("%v %s", ans.header, ans.body)
	}
}
