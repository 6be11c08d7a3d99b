package netpeer

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestAllProxyIsUsedWhereNothingElseNamesOne(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "all_proxy", "no_proxy"} {
		t.Setenv(name, "")
	}
	for _, test := range []struct{ all, no, target, want string }{
		{"socks5://127.0.0.1:1080", "", "https://api.example.com/", "socks5://127.0.0.1:1080"},
		{"socks5h://u:p@proxy", "", "https://api.example.com/", "socks5h://u:p@proxy"},
		{"proxy.example:3128", "", "https://api.example.com/", "http://proxy.example:3128"},
		{"http://proxy:3128", "", "https://api.example.com:8443/", "http://proxy:3128"},
		{"", "", "https://api.example.com/", ""},
		{"http://proxy", "", "https://localhost/", ""},
		{"http://proxy", "", "https://127.0.0.1:8443/", ""},
		{"http://proxy", "", "https://[::1]/", ""},
		{"http://proxy", "*", "https://api.example.com/", ""},
		{"http://proxy", "example.com", "https://api.example.com/", ""},
		{"http://proxy", " a.b , Example.COM", "https://example.com/", ""},
		{"http://proxy", ".example.com", "https://example.com/", "http://proxy"},
		{"http://proxy", ".example.com", "https://api.example.com/", ""},
		{"http://proxy", "*.example.com", "https://api.example.com/", ""},
		{"http://proxy", "ample.com", "https://api.example.com/", "http://proxy"},
		{"http://proxy", "example.com:8443", "https://api.example.com/", "http://proxy"},
		{"http://proxy", "example.com:443", "https://api.example.com/", ""},
		{"http://proxy", "10.0.0.0/8", "https://10.1.2.3/", ""},
		{"http://proxy", "10.0.0.0/8", "https://11.1.2.3/", "http://proxy"},
		{"http://proxy", "10.1.2.3", "https://10.1.2.3:8443/", ""},
		{"http://proxy", "10.1.2.3", "https://10.1.2.4/", "http://proxy"},
		{"http://proxy", "fd00::/8", "https://[fd00::1]/", ""},
		{"http://proxy", "[fd00::1]:443", "https://[fd00::1]/", ""},
		{"http://proxy", ",,.,", "https://api.example.com/", "http://proxy"},
		{"http://u:S3CR3T@\x7f", "", "https://api.example.com/", "fails"},
	} {
		t.Setenv("ALL_PROXY", test.all)
		t.Setenv("NO_PROXY", test.no)
		target, _ := url.Parse(test.target)
		proxy, err := allProxy(target)
		got := ""
		if proxy != nil {
			got = proxy.String()
		}
		if err != nil {
			got = "fails"
			if strings.Contains(err.Error(), "S3CR3T") {
				t.Errorf("%v", err)
			}
		}
		if got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
	t.Setenv("ALL_PROXY", "socks5://socks")
	t.Setenv("NO_PROXY", "")
	t.Setenv("HTTPS_PROXY", "http://specific")
	if proxy, err := allProxy(&url.URL{Scheme: "https", Host: "api.example.com"}); proxy != nil || err != nil {
		t.Errorf("%v, %v beside HTTPS_PROXY", proxy, err)
	}
}

func TestAProxyIsNamedByHostAndPortAlone(t *testing.T) {
	for text, want := range map[string]string{
		"http://u:p@proxy": "proxy:80", "https://proxy": "proxy:443", "socks5://proxy": "proxy:1080", "http://[::1]:3128/x": "[::1]:3128",
	} {
		proxy, _ := url.Parse(text)
		if got := HostOf(proxy); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	if HostOf(nil) != "" {
		t.Error("none has a name")
	}
	text := (&ProxyError{Proxy: "a\x1b[31m\u202e" + strings.Repeat("x", 1000), Status: http.StatusProxyAuthRequired}).Error()
	if len(text) > 500 || strings.ContainsAny(text, "\x1b\u202e") || !strings.Contains(text, "407") || !strings.Contains(text, "HTTPS_PROXY") {
		t.Errorf("%q", text)
	}
}
