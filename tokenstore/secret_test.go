package tokenstore

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"text/template"
	"unsafe"

	"github.com/fds-sdk/fds-go/fds"
)

const hush = "s3cr3t"

// deep has a secret where fmt calls no methods.
type deep struct {
	inner struct{ list []map[string]*inside }
}
type inside struct{ secret fds.Secret }

func newDeep() deep {
	d := deep{}
	d.inner.list = []map[string]*inside{{"x": {fds.NewSecret(hush)}}}
	return d
}

func TestAttackASecretShowsInNoPrintedForm(t *testing.T) {
	s := fds.NewSecret(hush)
	grant := crashGrant(1, hush, 0)
	grant.unknown = fds.NewSecret(`{"future":"` + hush + `"}`)
	values := map[string]any{
		"secret": s, "pointer": &s, "slice": []fds.Secret{s}, "map": map[string]fds.Secret{"k": s}, "any": []any{s},
		"exported field": struct{ S fds.Secret }{s}, "unexported field": inside{s}, "deep": newDeep(), "deep pointer": &[]deep{newDeep()},
		"grant": grant, "grants": []*Grant{&grant}, "configuration": FolderConfig{Passphrase: s, Identity: s},
		"error": &Error{Op: "x", Err: fmt.Errorf("%v", s)},
		"head":  head{text: s},
	}
	for name, v := range values {
		for _, verb := range strings.Split("v +v #v s q x X d t T p b o O U c e E f F g G w", " ") {
			for _, flag := range []string{"", "#", "+", "-", " ", "0", "40", ".3"} {
				if strings.HasPrefix(verb, flag) && flag != "" {
					continue
				}
				if shown := fmt.Sprintf("%"+flag+verb, v); leaks(shown) {
					t.Errorf("%s printed with %%%s%s is %s", name, flag, verb, shown)
				}
			}
		}
		if shown := fmt.Sprint(v) + fmt.Sprintln(v); leaks(shown) {
			t.Errorf("%s printed is %s", name, shown)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		if leaks(log.String()) {
			t.Errorf("%s logged is %s", name, log.String())
		}
		if data, _ := json.Marshal(v); leaks(string(data)) {
			t.Errorf("%s as JSON is %s", name, data)
		}
		if data, _ := xml.Marshal(v); leaks(string(data)) {
			t.Errorf("%s as XML is %s", name, data)
		}
		var shown bytes.Buffer
		if err := template.Must(template.New("").Parse("{{.}} {{printf \"%#v\" .}}")).Execute(&shown, v); err != nil || leaks(shown.String()) {
			t.Errorf("%s in a template is %s (%v)", name, shown.String(), err)
		}
		var stream bytes.Buffer
		_ = gob.NewEncoder(&stream).Encode(v) // most values it refuses
		if leaks(stream.String()) {
			t.Errorf("%s encoded by gob shows", name)
		}
		if shown := dig(reflect.ValueOf(v), 0); leaks(shown) {
			t.Errorf("%s shows to a printer that follows pointers and reads unexported fields: %s", name, shown)
		}
	}
}

func leaks(shown string) bool {
	return strings.Contains(shown, hush) || strings.Contains(strings.ToLower(shown), fmt.Sprintf("%x", hush))
}

// dig prints all that reflection reaches, as printers for debugging do.
func dig(v reflect.Value, depth int) string {
	if depth > 20 || !v.IsValid() {
		return ""
	}
	var b strings.Builder
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return dig(v.Elem(), depth+1)
	case reflect.Struct:
		if !v.CanAddr() {
			c := reflect.New(v.Type()).Elem()
			c.Set(v)
			v = c
		}
		for n := range v.NumField() {
			f := v.Field(n)
			f = reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
			b.WriteString(dig(f, depth+1))
		}
	case reflect.Slice, reflect.Array:
		for n := range v.Len() {
			b.WriteString(dig(v.Index(n), depth+1))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			b.WriteString(dig(k, depth+1) + dig(v.MapIndex(k), depth+1))
		}
	case reflect.String:
		return v.String() + " "
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return fmt.Sprint(v.Pointer(), " ")
	default:
		return fmt.Sprint(v.Interface(), " ")
	}
	return b.String()
}

func TestDigFindsWhatIsNotHidden(t *testing.T) {
	type pointed struct{ text *string }
	text := hush
	if !leaks(dig(reflect.ValueOf([]pointed{{&text}}), 0)) {
		t.Fatal("the printer of the test above finds nothing")
	}
}

func TestASecretIsRevealedWhenAsked(t *testing.T) {
	if got := fds.NewSecret(hush).Reveal(); got != hush {
		t.Errorf("Reveal gives %q", got)
	}
	if fds.NewSecret(hush).IsZero() || !fds.NewSecret("").IsZero() || !(fds.Secret{}).IsZero() || (fds.Secret{}).Reveal() != "" {
		t.Error("only the empty secret is zero")
	}
}

func TestSecretsCompareByText(t *testing.T) {
	for _, c := range []struct {
		a, b  fds.Secret
		equal bool
	}{
		{fds.NewSecret("a"), fds.NewSecret("a"), true},
		{fds.NewSecret("a"), fds.NewSecret("b"), false},
		{fds.NewSecret("a"), fds.NewSecret("aa"), false},
		{fds.NewSecret("a"), fds.Secret{}, false},
		{fds.NewSecret(""), fds.Secret{}, true},
	} {
		if c.a.Equal(c.b) != c.equal || c.b.Equal(c.a) != c.equal {
			t.Errorf("%q and %q: want equal %v", c.a.Reveal(), c.b.Reveal(), c.equal)
		}
	}
}

func TestARedactedSecretIsNotTakenForAStoredOne(t *testing.T) {
	data, err := json.Marshal(struct{ S fds.Secret }{fds.NewSecret(hush)})
	if err != nil || string(data) != `{"S":"[redacted]"}` {
		t.Fatalf("Marshal gives %s, %v", data, err)
	}
	var back struct{ S fds.Secret }
	if err := json.Unmarshal(data, &back); err == nil {
		t.Error("what was redacted was read back as a secret")
	}
}
