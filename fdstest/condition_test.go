package fdstest_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestAListThatTheClientHasIsNotSentAgain(t *testing.T) {
	r := newReader(t, fdstest.Options{}, "A", "B")
	whole := r.read("specifications")
	tag := whole.header.Get("ETag")
	if !regexp.MustCompile(`^"[0-9a-f]{32}"$`).MatchString(tag) || whole.header.Get("Cache-Control") != "private, no-cache" {
		t.Fatalf("ETag %s, Cache-Control %s", tag, whole.header.Get("Cache-Control"))
	}
	for _, test := range []struct {
		sent   string
		status int
	}{
		{tag, 304}, {"W/" + tag, 304}, {"*", 304}, {" * ", 304},
		{`"x", ` + tag, 304}, {`"a,b" ,, W/` + tag + `,"c"`, 304}, {`"",` + tag, 304},
		{"", 200}, {`"x"`, 200}, {`"*"`, 200}, {`"x", *`, 200}, {strings.Trim(tag, `"`), 200}, {`w/` + tag, 200},
		{tag[:len(tag)-1], 200}, {`"` + tag, 200}, {`x, ` + tag, 200},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			ans := r.send(method, "specifications", "", "If-None-Match", test.sent)
			if ans.err != nil || ans.status != test.status || ans.header.Get("ETag") != tag {
				t.Errorf("%s with %s: %d, ETag %s, %v", method, test.sent, ans.status, ans.header.Get("ETag"), ans.err)
			}
			if ans.status == 304 && (ans.body != "" || ans.header.Get("Content-Type") != "" || ans.header.Get("Date") == "" || ans.header.Get("Cache-Control") == "") {
				t.Errorf("%s with %s: %q, %v", method, test.sent, ans.body, ans.header)
			}
		}
	}
}

func TestAnEntityTagIsThatOfTheBytes(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{TagParameter: "id", Paging: fdstest.Paging{LinkHeader: true, Size: 2}}}, "A", "B")
	full := r.read("specifications").header.Get("ETag")
	if again := r.read("specifications?ids=A,B").header.Get("ETag"); again != full {
		t.Errorf("the same bytes have %s and %s", full, again)
	}
	r.addDevice("C")
	ans := r.read("specifications", "If-None-Match", full)
	if ans.status != 200 || ans.header.Get("Link") == "" || ans.header.Get("ETag") == full {
		t.Errorf("a page behind it goes unnoticed: %d, %v", ans.status, ans.header)
	}
	r.send(http.MethodPost, "tag", `{"tag_id":"t","generic":{}}`)
	for _, path := range []string{"tag", "tag?id=t"} {
		before := r.read(path)
		if ans := r.read(path, "If-None-Match", before.header.Get("ETag")); ans.status != 304 {
			t.Errorf("%s: %d", path, ans.status)
		}
		r.send(http.MethodPut, "tag/t/entities", `["A"]`)
		if ans := r.read(path, "If-None-Match", before.header.Get("ETag")); ans.status != 200 || ans.body == before.body {
			t.Errorf("%s after a change: %d", path, ans.status)
		}
		r.send(http.MethodPut, "tag/t/entities", `[]`)
	}
}

func TestOnlyListsHaveAnEntityTag(t *testing.T) {
	r := newReader(t, fdstest.Options{})
	if err := r.p.AddDevice(r.p.Owners()[0], []byte(`{"device_id":"A","generic":{"device_type":"dispenser"}}`)); err != nil {
		t.Fatal(err)
	}
	for what, ans := range map[string]answer{
		"unknown parameter": r.read("spaces?x=1", "If-None-Match", "*"),
		"not implemented":   r.read("statistics?ids=A", "If-None-Match", "*"),
		"no such path":      r.read("tags", "If-None-Match", "*"),
		"a new tag":         r.send(http.MethodPost, "tag", `{"generic":{}}`, "If-None-Match", `"x"`),
	} {
		if ans.status == 304 || ans.header.Get("ETag") != "" || ans.header.Get("Cache-Control") != "no-store" || ans.body == "" {
			t.Errorf("%s: %d %v", what, ans.status, ans.header)
		}
	}
}
