package authserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"
)

func read(answer string, names ...string) object {
	return readObject(strings.NewReader(answer), names...)
}

func TestAMemberIsReadAtTheTopLevelByItsExactName(t *testing.T) {
	deep := strings.Repeat("[", 60_000) + strings.Repeat("]", 60_000)
	for name, c := range map[string]struct{ answer, want string }{
		"plain":                 {`{"a":"x","b":1}`, "x"},
		"white space":           {"\r\n\t { \"b\" : [ 1 , 2 ] ,\n\"a\" : \"x\" } \n", "x"},
		"a byte order mark":     {"\xef\xbb\xbf{\"a\":\"x\"}", "x"},
		"two of them":           {"\xef\xbb\xbf\xef\xbb\xbf{\"a\":\"x\"}", "x"},
		"one behind a line":     {"\r\n\xef\xbb\xbf {\"a\":\"x\"}", "x"},
		"one and white space":   {"\xef\xbb\xbf \n{\"a\":\"x\"}", "x"},
		"escapes":               {`{"\u0061":"\"x\\\u00e4"}`, `"x\ä`},
		"below others":          {`{"b":{"a":"y","c":[{"a":"z"}]},"a":"x"}`, "x"},
		"nested alone":          {`{"b":{"a":"y"}}`, ""},
		"nested in an array":    {`[{"a":"x"}]`, ""},
		"brackets in a text":    {`{"b":"}{\"a\":\"y\",","a":"x"}`, "x"},
		"brackets in a name":    {`{"}":1,"a":"x"}`, "x"},
		"another case":          {`{"A":"y"}`, ""},
		"a space in the name":   {`{" a":"y"}`, ""},
		"an empty object":       {`{}`, ""},
		"an empty text":         {`{"a":""}`, ""},
		"null":                  {`{"a":null}`, ""},
		"a number":              {`{"a":7}`, ""},
		"an object":             {`{"a":{"a":"y"}}`, ""},
		"what is nested deeply": {`{"b":` + deep + `,"a":"x"}`, "x"},
		"a long name":           {`{"` + strings.Repeat("b", 100_000) + `":1,"a":"x"}`, "x"},
		"a long text":           {`{"b":"` + strings.Repeat("b", 200_000) + `","a":"x"}`, "x"},
		"no UTF-8":              {"{\"b\":\"\xff\xfe\",\"a\":\"x\"}", "x"},
		"a NUL":                 {"{\"b\":\"\x00\",\"a\":\"x\"}", "x"},
		"no number":             {`{"b":NaN,"c":+.5e,"a":"x"}`, "x"},
		"a raw line":            {"{\"b\":\"one\ntwo\",\"a\":\"x\"}", "x"},
		"no escape":             {`{"b":"\x41","a":"x"}`, "x"},
		"a form":                {"b=1&a=x", "x"},
		"a form, encoded":       {"a=x+y%26&b=%zz", "x y&"},
		"a form and a line":     {"a=x\r\n", "x"},
	} {
		o := read(c.answer, "a")
		if got := o.text("a"); got != c.want || (c.want != "" && o.fault != nil) {
			t.Errorf("%s: %q, %v; want %q", name, got, o.fault, c.want)
		}
	}
}

// broken are answers that begin well and are no object in the end.
var broken = map[string]struct {
	rest  string
	fault error
}{
	"cut before a name":     {``, errCut},
	"cut behind a comma":    {`,`, errCut},
	"cut in a name":         {`,"b`, errCut},
	"cut in an escape":      {`,"b\`, errCut},
	"cut before a value":    {`,"b":`, errCut},
	"cut in a text":         {`,"b":"x`, errCut},
	"cut in a number":       {`,"b":36`, errCut},
	"cut in an array":       {`,"b":["x",`, errCut},
	"cut in one nested":     {`,"b":{"c":"x`, errCut},
	"a comma too many":      {`,}`, errMalformed},
	"no value":              {`,"b":}`, errMalformed},
	"no colon":              {`,"b" 1}`, errMalformed},
	"no name":               {`,1:1}`, errMalformed},
	"no comma":              {` "b":1}`, errMalformed},
	"two values":            {`,"b":1 2}`, errMalformed},
	"an array not closed":   {`,"b":[1}`, errMalformed},
	"an object not closed":  {`,"b":{"c":[}]}`, errMalformed},
	"a word that runs on":   {`,"b":tru"e"}`, errMalformed},
	"larger than is taken":  {`,"b":"` + strings.Repeat("b", maxAnswer) + `"}`, errTooLarge},
	"without end":           {`,"b":"` + strings.Repeat("b", 2*maxRead), errTooLarge},
	"nested without end":    {`,"b":` + strings.Repeat("[", 2*maxRead), errTooLarge},
	"a scalar without end":  {`,"b":` + strings.Repeat("1", 2*maxRead), errTooLarge},
	"members without end":   {strings.Repeat(`,"b":1`, 2*maxRead/6), errTooLarge},
	"asked for without end": {strings.Repeat(`,"a":"x"`, 2*maxRead/8), errTooLarge},
}

func TestWhatFollowsAWholeObjectHarmsNothing(t *testing.T) {
	for name, rest := range map[string]string{
		"closed twice":        `}}`,
		"followed by a page":  `}<!-- 0.2 s -->`,
		"followed by another": `}{"a":"y"}`,
		"white space, no end": `}` + strings.Repeat(" ", 2*maxRead),
	} {
		if o := read(`{"a":"x"`+rest, "a"); o.fault != nil || o.text("a") != "x" {
			t.Errorf("%s: %q, %v", name, o.text("a"), o.fault)
		}
	}
	o := readObject(io.MultiReader(strings.NewReader(`{"a":"x"}`), iotest.ErrReader(errors.New("connection reset"))), "a")
	if o.fault != nil || o.text("a") != "x" {
		t.Errorf("a connection that is reset: %q, %v", o.text("a"), o.fault)
	}
}

func TestWhatABrokenAnswerHeldBeforeIsFound(t *testing.T) {
	for name, c := range broken {
		o := read(`{"a":"x"`+c.rest, "a")
		if !errors.Is(o.fault, c.fault) || o.lastText("a") != "x" {
			t.Errorf("%s: %q, %v; want %v", name, o.lastText("a"), o.fault, c.fault)
		}
	}
	failed := errors.New("connection reset")
	o := readObject(io.MultiReader(strings.NewReader(`{"a":"x","b":`), iotest.ErrReader(failed)), "a")
	if !errors.Is(o.fault, errCut) || !errors.Is(o.fault, failed) || o.text("a") != "x" {
		t.Errorf("a connection that is reset: %q, %v", o.text("a"), o.fault)
	}
	if o := readObject(iotest.ErrReader(failed)); !errors.Is(o.fault, errCut) {
		t.Errorf("one that is reset at once: %v", o.fault)
	}
	if o := read(`{"b":"`+strings.Repeat("b", maxAnswer)+`","a":"x"}`, "a"); !errors.Is(o.fault, errTooLarge) || o.text("a") != "x" {
		t.Errorf("behind what is too large: %q, %v", o.text("a"), o.fault)
	}
	if o := read("b=x&a=", "a", "b"); o.text("b") != "x" || o.fault != nil {
		t.Errorf("a form: %q, %v", o.text("b"), o.fault)
	}
	if o := read("b=x&c="+strings.Repeat("c", maxAnswer)+"&a=y", "a", "b"); o.text("b") != "x" || !errors.Is(o.fault, errTooLarge) {
		t.Errorf("a form that is too large: %q, %v", o.text("b"), o.fault)
	}
	if o := readObject(io.MultiReader(strings.NewReader(`b=x&a=hal`), iotest.ErrReader(failed)), "a", "b"); !errors.Is(o.fault, errCut) || o.text("b") != "x" || o.text("a") != "" {
		t.Errorf("a form that is cut: %v, %v", o.members, o.fault)
	}
}

func TestWhatIsNeitherAnObjectNorAFormIsNone(t *testing.T) {
	for _, answer := range []string{"", " \n", "OK", "null", "true", "7", `"a=x"`, "<html>a=x&b=y</html>", "a=x\n<br>", "Bad gateway: a=x", "[]", "a=x y", "&&&", "a=\x00", "b=1"} {
		if o := read(answer, "a"); !errors.Is(o.fault, errNoObject) || o.text("a") != "" {
			t.Errorf("%q gives %q, %v", answer, o.text("a"), o.fault)
		}
	}
}

func TestWhatStandsThereTwiceIsNotReadableButNotLost(t *testing.T) {
	for answer, last := range map[string]string{
		`{"a":"x","a":"y"}`:      "y",
		`{"a":"x","a":7}`:        "x",
		`{"a":"x","a":""}`:       "x",
		`{"a":"x","a":null}`:     "x",
		`{"a":"x","\u0061":"y"}`: "y",
		`a=x&a=y`:                "y",
	} {
		o := read(answer, "a")
		if o.text("a") != "" || o.twice("b", "a") != "a" || o.lastText("a") != last || o.fault != nil {
			t.Errorf("%s: %q, %q, last %q, %v", answer, o.text("a"), o.twice("b", "a"), o.lastText("a"), o.fault)
		}
	}
}

func TestASecondCountsHoweverItIsWrittenAndNonsenseIsAbsent(t *testing.T) {
	for raw, want := range map[string]float64{
		`3600`: 3600, `3599.97`: 3599.97, `"3600.0"`: 3600, `" 3600 "`: 3600, `3.6e3`: 3600, `1`: 1,
		`""`: 0, `"never"`: 0, `null`: 0, `-1`: 0, `0`: 0, `"0"`: 0, `1e300`: 0, `1e999`: 0, `"Inf"`: 0, `"NaN"`: 0, `99999999999999999999`: 0,
		`true`: 0, `{"n":3600}`: 0, `[3600]`: 0, `NaN`: 0, `"3600 s"`: 0, `36o0`: 0,
	} {
		o := read(`{"n":`+raw+`}`, "n")
		if got := o.seconds("n").Seconds(); got != want || o.fault != nil {
			t.Errorf("%s: %v s, %v; want %v", raw, got, o.fault, want)
		}
	}
}

func TestListsAndFlagsAreReadAsTheyAreMeant(t *testing.T) {
	for raw, want := range map[string][]string{
		`["a","b"]`: {"a", "b"}, `"a"`: {"a"}, `"a b,c"`: {"a", "b", "c"}, `["a",7,null,"b"]`: {"a", "b"}, `[]`: {},
		`null`: nil, `7`: nil, `{}`: nil, `""`: nil,
	} {
		o := read(`{"l":`+raw+`}`, "l")
		if got := o.list("l", ", "); !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
	for raw, want := range map[string]bool{`true`: true, `"true"`: true, `"True"`: true, `false`: false, `"false"`: false, `1`: false, `null`: false, `"yes"`: false} {
		if o := read(`{"f":`+raw+`}`, "f"); o.flag("f") != want {
			t.Errorf("%s: %v", raw, !want)
		}
	}
}

// counted counts what was read.
type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// forever repeats a text.
type forever string

func (f forever) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], f)
	}
	return n, nil
}

func TestAttackAnAnswerWithoutEndIsReadNoFurtherThanItsBound(t *testing.T) {
	for _, text := range []string{" ", "x", "<p>", `{"a":"x",`, `{"a":`, `{"a":"`, `[`} {
		const most = 16 * maxRead // so that this test ends, whatever is wrong
		body := &counted{Reader: io.MultiReader(strings.NewReader(`{"b":`), io.LimitReader(forever(text), most))}
		if n := allocated(func() { readObject(body, "a", "b") }); n > 1<<20 {
			t.Errorf("%q without end costs %d bytes", text, n)
		}
		page := &counted{Reader: io.LimitReader(forever(text), most)}
		if n := allocated(func() { readObject(page, "a", "b") }); n > 1<<20 {
			t.Errorf("%q without end, no object, costs %d bytes", text, n)
		}
		if body.n > maxRead || page.n > maxRead {
			t.Errorf("%q without end: %d and %d bytes were read", text, body.n, page.n)
		}
	}
}

func FuzzWhatIsIssuedIsFoundInEveryAnswer(f *testing.F) {
	for _, c := range broken {
		if len(c.rest) < 1000 {
			f.Add([]byte(`{"refresh_token":"x"` + c.rest))
		}
	}
	f.Add([]byte(`{"expires_in":3599.97,"refresh_token":"r","x":{"refresh_token":"n"}}`))
	f.Add([]byte("\xef\xbb\xbf {\"refresh_token\":\"r\",\"refresh_token\":1}"))
	f.Add([]byte("access_token=a&refresh_token=%72&expires_in=3600"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		o := readObject(bytes.NewReader(answer), "refresh_token", "access_token")
		_, _, _ = o.seconds("access_token"), o.list("access_token", " "), o.flag("access_token")
		trimmed := bytes.TrimLeft(bytes.TrimPrefix(answer, []byte(byteOrderMark)), " \t\r\n")
		if !bytes.HasPrefix(trimmed, []byte("{")) {
			return
		}
		// What a reader of JSON takes is taken, with what that finds.
		var want []string
		var wrong bool
		d := jsontext.NewDecoder(bytes.NewReader(trimmed), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		for {
			token, err := d.ReadToken()
			if err != nil {
				wrong = !errors.Is(err, io.EOF) || d.StackDepth() > 0
				break
			}
			if d.StackDepth() == 1 && token.Kind() == '"' && token.String() == "refresh_token" {
				if kind, n := d.StackIndex(1); kind == '{' && n%2 == 1 {
					value, err := d.ReadValue()
					var text string
					if err == nil && value.Kind() == '"' && json.Unmarshal(value, &text) == nil && text != "" {
						want = append(want, text)
					}
				}
			}
		}
		if len(want) > 0 && o.lastText("refresh_token") == "" {
			t.Errorf("%q was not found in %q", want, answer)
		}
		if wrong {
			return
		}
		if bytes.HasSuffix(bytes.TrimSpace(trimmed), []byte("}")) && bytes.Count(trimmed, []byte("{")) > 0 && o.fault != nil && jsontext.Value(trimmed).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			t.Errorf("%q is refused: %v", answer, o.fault)
		}
		if got := o.lastText("refresh_token"); len(want) > 0 && got != want[len(want)-1] || len(want) == 0 && got != "" {
			t.Errorf("%q gives %q, want the last of %q", answer, got, want)
		}
	})
}
