package fdsclient

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestThePageOfHooksListsThemAll(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, hook := range hookTypes {
		name := strings.TrimPrefix(hook.String(), "fdsclient.")
		want = append(want, name)
		if !strings.Contains(string(doc), "["+name+"]") {
			t.Errorf("doc.go does not list %s", name)
		}
		if method, name := hook.Method(0).Name, hook.Name(); "Hook"+strings.TrimPrefix(method, "On") != name || hook.NumMethod() != 1 {
			t.Errorf("%s has the method %s", name, method)
		}
	}
	for _, word := range strings.FieldsFunc(string(doc), func(r rune) bool { return r == '[' || r == ']' }) {
		if strings.HasPrefix(strings.TrimPrefix(word, "push."), "Hook") && !slices.Contains(want, word) {
			t.Errorf("doc.go lists %s, which New does not know", word)
		}
	}
}
