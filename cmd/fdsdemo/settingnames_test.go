package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ownMentions are of what no file has and a person never reads: a panic's place, the options
// of a call that this program makes.
var ownMentions = []string{"tokenstore.KeyringConfig.LockFolder", "Provider.Dial", "Application.Page", "Application.RedirectURL", "SignInOptions.OpenBrowser", "SignInOptions.ShowURL", "Config.Root", "Gaps.Concurrent", "Provider.AssumedLifetime", "Provider.RefreshInterval"}

func TestEverySettingThatTheSDKNamesHasAKeyInTheFile(t *testing.T) {
	mentions := 0
	for _, room := range []string{"fds", "delivery", "tokenstore", "statestore", "pull", "push", "webhook", "fdsclient", "conformance", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", "..", room), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Error(err)
				}
				for _, setting := range mention.FindAllString(text, -1) {
					mentions++
					if fileKey(setting) == setting && !slices.Contains(ownMentions, setting) {
						t.Errorf("%s names %s, for which the file has no key", path, setting)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if mentions < 60 {
		t.Errorf("only %d settings are named; is the source where it was?", mentions)
	}
}

func TestATextOfTheSDKSpeaksOfTheFilesKeys(t *testing.T) {
	for text, want := range map[string]string{
		"over 3 pages; pull.Settings.MaxPages sets the bound":           "over 3 pages; pull.max_pages sets the bound",
		"name it in fds.Dialect.ListMember":                             "name it in provider.dialect.list_member",
		"the member that fds.Paging.NextMember names":                   "the member that provider.dialect.paging.next_member names",
		"Provider.BrokerURL is missing; set Poll.Interval":              "provider.broker_url is missing; set poll.interval",
		"Config.Certificates is missing":                                "push.certificates is missing",
		"see Dialect.FromParameter, or Gaps.Off":                        "see provider.dialect.from_parameter, or push.gaps: off",
		"turn it off (NO_PROXY, or push.Settings.Proxy \"none\")":       "turn it off (NO_PROXY, or push.proxy \"none\")",
		"set Provider.Dialect.EventTopic and StatusTopic, or Gaps.Off":  "set provider.dialect.event_topic and provider.dialect.status_topic, or push.gaps: off",
		"see Dialect.EventTopic and Others":                             "see provider.dialect.event_topic and Others",
		"proves who it is: a Certificate, a Key or a ClientSecret":      "proves who it is: application.certificate_file, application.key_file or application.client_secret_file",
		"a Provider of that name, and a path /Provider.x, stay as they": "a Provider of that name, and a path /Provider.x, stay as they",
	} {
		if got := inFile(text); got != want {
			t.Errorf("%q is %q in the file's words, want %q", text, got, want)
		}
	}
}

func TestEveryPhraseIsInTheSDK(t *testing.T) {
	missing := make(map[string]bool)
	for i := 0; i < len(phrases); i += 2 {
		missing[phrases[i]] = true
	}
	for _, room := range []string{"tokenstore", "webhook", "fdsclient", "conformance"} {
		err := filepath.WalkDir(filepath.Join("..", "..", room), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			source, err := os.ReadFile(path)
			for phrase := range missing {
				if strings.Contains(string(source), phrase) {
					delete(missing, phrase)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(missing) > 0 {
		t.Errorf("the SDK does not say %v", missing)
	}
}
