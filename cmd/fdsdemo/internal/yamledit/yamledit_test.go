package yamledit

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// order is that of the sections and keys of these tests.
func order(a, b string) bool {
	all := []string{"provider", "issuer", "api_url", "broker_url", "application", "client_id", "scopes", "tokens", "store", "folder", "poll", "push", "topics", "proxy", "gaps", "webhook", "owners"}
	i, j := slices.Index(all, a), slices.Index(all, b)
	return i >= 0 && j >= 0 && i < j
}

func TestAKeyIsSetAndAllElseStaysAsItIsWritten(t *testing.T) {
	t.Parallel()
	const file = `# above
provider:
  issuer: https://a.example.com   # the one

  # of the box
  api_url: "https://api.example.com"
  dialect: {from_parameter: from, to_parameter: to} # short
application: # who
    client_id:   'it''s'
    scopes:
        - openid # first
        - offline_access
    # behind
tokens:
  store: file
poll:
push: {topics: ["#", "a, b"], proxy: none}
`
	for _, c := range []struct {
		key, value string // "": take it out
		old, new   string
	}{
		{"provider.issuer", "https://b.example.com", "https://a.example.com ", "https://b.example.com "},
		{"provider.api_url", "x: y", `"https://api.example.com"`, `'x: y'`},
		{"provider.dialect.from_parameter", "since", "from_parameter: from", "from_parameter: since"},
		{"provider.dialect.to_parameter", "a, b", "to_parameter: to}", `to_parameter: "a, b"}`},
		{"provider.dialect.time_member", "t", "to_parameter: to}", "to_parameter: to, time_member: t}"},
		{"provider.broker_url", "mqtts://b", "  dialect:", "  broker_url: mqtts://b\n  dialect:"},
		{"application.client_id", "true", "'it''s'", `"true"`},
		{"application.scopes", "[a, b]", "    scopes:\n        - openid # first\n        - offline_access\n", "    scopes: [a, b]\n"},
		{"application.name", "x", "'it''s'\n    scopes:", "'it''s'\n    scopes:"}, // see below
		{"tokens.folder", "grants/", "  store: file\n", "  store: file\n  folder: grants/\n"},
		{"poll.interval", "30s", "poll:\n", "poll:\n  interval: 30s\n"},
		{"push.topics", "['#']", `["#", "a, b"]`, `['#']`},
		{"push.gaps", "off", "none}", `none, gaps: off}`},
		{"webhook.listen", ":8443", "none}\n", "none}\nwebhook:\n  listen: :8443\n"},
		{"owners.a b", "x", "none}\n", "none}\nowners:\n  a b: x\n"},
		{"provider.issuer", "", "  issuer: https://a.example.com   # the one\n", ""},
		{"application.scopes", "", "    scopes:\n        - openid # first\n        - offline_access\n", ""},
		{"push.topics", "", `topics: ["#", "a, b"], `, ""},
		{"push.proxy", "", ", proxy: none", ""},
		{"poll", "", "poll:\n", ""},
		{"poll.margin", "", "", ""},
	} {
		want := strings.Replace(file, c.old, c.new, 1)
		if c.key == "application.name" { // where no key is before it
			want = strings.Replace(file, "        - offline_access\n", "        - offline_access\n    name: x\n", 1)
		}
		var value *yaml.Node
		switch {
		case strings.HasPrefix(c.value, "["):
			value = parsedNode(t, c.value)
		case c.value != "":
			value = Text(c.value)
		}
		for _, text := range []string{file, "\ufeff" + strings.ReplaceAll(file, "\n", "\r\n")} {
			wanted := want
			if text != file {
				wanted = "\ufeff" + strings.ReplaceAll(want, "\n", "\r\n")
			}
			got, err := Set([]byte(text), strings.Split(c.key, "."), value, order)
			if err != nil || string(got) != wanted {
				t.Errorf("%s: %v\n%s\nwant\n%s", c.key, err, got, wanted)
			}
		}
	}
}

func parsedNode(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var whole yaml.Node
	if err := yaml.Unmarshal([]byte(text), &whole); err != nil {
		t.Fatal(err)
	}
	return whole.Content[0]
}

func TestWhatAPersonAloneShouldChangeIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	for text, key := range map[string]string{
		"push: &p\n  proxy: none\n":                               "push.proxy",
		"push: &p {proxy: none}\npoll: *p\n":                      "poll.interval",
		"push:\n  proxy: &x none\npull: *x\n":                     "push.proxy",
		"provider: a text\n":                                      "provider.issuer",
		"provider:\n  issuer: a\n    b\n":                         "provider.issuer",
		"a: &a\n  issuer: x\nprovider:\n  <<: *a\n  api_url: y\n": "provider.api_url.x",
	} {
		if got, err := Set([]byte(text), strings.Split(key, "."), Text("new"), order); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got, err := Set([]byte("# nothing yet"), []string{"provider", "issuer"}, Text("x"), order); err != nil || string(got) != "# nothing yet\nprovider:\n  issuer: x\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzSet sees that a text in which a key was set holds that, and all else as before.
func FuzzSet(f *testing.F) {
	for _, text := range []string{"", "a: b", "a:\n  b: c # d\n", "a: {b: 'c'}", "a:\n- b\n", "a: |\n  b\nc: d\n", "a: \"b\\\"\" # c", "\ufeffa:\r\n  b: [c,\r\n d]\r\n"} {
		f.Add(text, "a", "b", "v")
		f.Add(text, "c", "", "[x]: y\n# z")
	}
	f.Fuzz(func(t *testing.T, text, section, name, value string) {
		path := []string{section}
		if name != "" {
			path = append(path, name)
		}
		got, err := Set([]byte(text), path, Text(value), order)
		if err != nil {
			return
		}
		before, err := meaningOf(strings.TrimPrefix(text, "\ufeff"))
		if err != nil {
			t.Fatal(err)
		}
		after, err := meaningOf(strings.TrimPrefix(string(got), "\ufeff"))
		if err != nil {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		want, err := changed(before, path, Text(value))
		if err != nil || !reflect.DeepEqual(after, want) {
			t.Fatalf("%q became %q, which means %v, want %v; %v", text, got, after, want, err)
		}
	})
}

func TestAttackAValueStaysOneValueAndATextThatGrowsIsRefused(t *testing.T) {
	t.Parallel()
	const text = "provider:\n  issuer: https://auth.example.com\napplication:\n  name: a # ours\n"
	for _, value := range []string{
		"x\nprovider:\n  issuer: https://evil.example", "x # y", "x\r\n  client_secret_command: [sh]", "{a: b}", "*p", "&p x", "!!binary eA==", "- x",
		"x\n---\na: b", "\"", "'", "x: y", "null", "~", "| \n x", "x\u2028provider: y", "\x00", "\u0085a: b",
	} {
		got, err := Set([]byte(text), []string{"application", "name"}, Text(value), order)
		if err != nil {
			continue
		}
		var all struct {
			Provider    map[string]string
			Application map[string]string
		}
		if err := yaml.Unmarshal(got, &all); err != nil {
			t.Errorf("%q made %q: %v", value, got, err)
		} else if len(all.Provider) != 1 || all.Provider["issuer"] != "https://auth.example.com" || len(all.Application) != 1 || all.Application["name"] != value {
			t.Errorf("%q made %q", value, got)
		}
	}
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for n := range 12 {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", n+1, n+1, strings.Repeat(fmt.Sprintf("*a%d,", n), 9), n)
	}
	if got, err := Set([]byte(bomb+text), []string{"application", "name"}, Text("b"), order); err == nil {
		t.Errorf("a text that would be a thousand million values became one of %d bytes", len(got))
	}
}
