package pull_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

func TestEveryFaultOfTheConfigurationIsNamed(t *testing.T) {
	good := func() pull.Config {
		return pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}}
	}
	if _, err := pull.New(good()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*pull.Config)
		want   []string
	}{
		{"no URL", func(c *pull.Config) { c.BaseURL = "" }, []string{"BaseURL is missing"}},
		{"http", func(c *pull.Config) { c.BaseURL = "http://api.example.com" }, []string{"https", "W1"}},
		{"http on loopback", func(c *pull.Config) { c.BaseURL = "http://127.0.0.1:8080" }, []string{"https"}},
		{"no scheme", func(c *pull.Config) { c.BaseURL = "api.example.com" }, []string{"https"}},
		{"no host", func(c *pull.Config) { c.BaseURL = "https:///fds" }, []string{"no host"}},
		{"credentials", func(c *pull.Config) { c.BaseURL = "https://user:" + secret + "@api.example.com" }, []string{"user name"}},
		{"a broken URL", func(c *pull.Config) { c.BaseURL = "https://user:" + secret + "@[::1" }, []string{"not a URL"}},
		{"a query", func(c *pull.Config) { c.BaseURL = "https://api.example.com?key=" + secret }, []string{"query"}},
		{"a fragment", func(c *pull.Config) { c.BaseURL = "https://api.example.com#a" }, []string{"fragment"}},
		{"the base path twice", func(c *pull.Config) { c.BaseURL = "https://api.example.com/fds/v2/" }, []string{"/fds/v2", "appended"}},
		{"no authorizer", func(c *pull.Config) { c.Authorizer = nil }, []string{"Authorizer", "W9"}},
		{"negative bounds", func(c *pull.Config) { c.MaxBodyBytes, c.MaxItemBytes, c.Timeout = -1, -1, -time.Second },
			[]string{"MaxBodyBytes", "MaxItemBytes", "Timeout"}},
		{"negative bounds of lists", func(c *pull.Config) { c.MaxListBytes, c.ListTimeout = -1, -1 }, []string{"MaxListBytes is -1", "ListTimeout is -1ns"}},
		{"fewer pages than none", func(c *pull.Config) { c.MaxPages = -1 }, []string{"MaxPages is -1"}},
		{"a header in the user agent", func(c *pull.Config) { c.UserAgent = "a\r\nX: y" }, []string{"UserAgent"}},
		{"TLS 1.1", func(c *pull.Config) {
			c.Transport = &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS11}}
		}, []string{"1.2", "W2"}},
		{"at most TLS 1.1", func(c *pull.Config) {
			c.Transport = &http.Transport{TLSClientConfig: &tls.Config{MaxVersion: tls.VersionTLS11}}
		}, []string{"1.2", "W2"}},
		{"one parameter for two things", func(c *pull.Config) { c.Dialect = fds.Dialect{FromParameter: "at", ToParameter: "at"} },
			[]string{"Dialect.ToParameter", `"at"`, "see Dialect.FromParameter"}},
		{"the parameter of the IDs", func(c *pull.Config) { c.Dialect.LanguageParameter = "ids" }, []string{"Dialect.LanguageParameter", "FDS"}},
		{"a page's number that is its size", func(c *pull.Config) {
			c.Dialect.Paging = fds.Paging{PageParameter: "p", SizeParameter: "p", Size: 1}
		}, []string{"Dialect.Paging.SizeParameter", "see Dialect.Paging.PageParameter"}},
		{"pages in two ways", func(c *pull.Config) {
			c.Dialect.Paging = fds.Paging{PageParameter: "p", CursorParameter: "c", CursorMember: "next"}
		}, []string{"Dialect.Paging.CursorParameter", "another way to page", "ListMember"}},
		{"a cursor beside no list", func(c *pull.Config) {
			c.Dialect.Paging = fds.Paging{CursorParameter: "c", CursorMember: "next"}
		}, []string{"Dialect.ListMember"}},
		{"a cursor in the list", func(c *pull.Config) {
			c.Dialect = fds.Dialect{ListMember: "data", Paging: fds.Paging{CursorParameter: "c", CursorMember: "data.next"}}
		}, []string{"Dialect.ListMember", `"data"`}},
		{"everything", func(c *pull.Config) { *c = pull.Config{Settings: pull.Settings{MaxBodyBytes: -1}} }, []string{"BaseURL", "Authorizer", "MaxBodyBytes"}},
	} {
		config := good()
		test.change(&config)
		client, err := pull.New(config)
		if err == nil || client != nil {
			t.Errorf("%s: accepted", test.name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", test.name, err, want)
			}
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows a secret: %v", test.name, err)
		}
		var faults *fds.ConfigError
		if !strings.HasPrefix(err.Error(), "pull: wrong configuration: ") || strings.Contains(err.Error(), "\n") || !errors.As(err, &faults) || !errors.Is(err, fds.ErrConfig) {
			t.Errorf("%s: %q does not say where it comes from", test.name, err)
		}
	}
}

func TestTheBasePathIsAppended(t *testing.T) {
	var got []string
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.EscapedPath())
		answer("[]")(w, r)
	})
	for _, suffix := range []string{"", "/", "/tenant%2F1", "/tenant/"} {
		config := a.config
		config.BaseURL += suffix
		if _, err := pull.Collect(newClient(t, config).Spaces(t.Context(), pull.Query{})); err != nil {
			t.Errorf("%q: %v", suffix, err)
		}
	}
	want := []string{"/fds/v2/spaces", "/fds/v2/spaces", "/tenant%2F1/fds/v2/spaces", "/tenant/fds/v2/spaces"}
	if !slices.Equal(got, want) {
		t.Fatalf("asked for %q, want %q", got, want)
	}
}

func TestATransportKeepsItsOwnTLSConfiguration(t *testing.T) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	made := pull.NewTransport(config)
	config.ServerName, config.MinVersion = "another", tls.VersionTLS10
	if made.TLSClientConfig.ServerName != "" || made.TLSClientConfig.MinVersion != tls.VersionTLS13 {
		t.Error("what is changed afterwards changes it")
	}
	if made.MaxIdleConns == 0 || made.MaxIdleConnsPerHost == 0 || made.IdleConnTimeout == 0 {
		t.Errorf("connections that nobody uses stay without bound: %+v", made)
	}
}
