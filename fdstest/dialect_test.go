package fdstest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

// reader reads one owner's Web API.
type reader struct {
	*app
	bearer string
}

// newReader starts a provider whose first owner has the given devices and
// nothing else, and reads that owner.
func newReader(t *testing.T, opts fdstest.Options, devices ...string) *reader {
	t.Helper()
	opts.Devices = -1
	a := start(t, opts)
	owner := a.p.Owners()[0]
	r := &reader{a, tokenOf(t, a.p, owner)}
	for _, id := range devices {
		r.addDevice(id)
	}
	return r
}

func tokenOf(t *testing.T, p *fdstest.Provider, owner fdstest.Owner) string {
	t.Helper()
	tokens, err := p.IssueTokens(p.PublicApplication().ID, owner)
	if err != nil {
		t.Fatal(err)
	}
	return tokens.AccessToken
}

func (r *reader) addDevice(id string) {
	r.t.Helper()
	if err := r.p.AddDevice(r.p.Owners()[0], []byte(`{"device_id":"`+id+`"}`)); err != nil {
		r.t.Fatal(err)
	}
}

// send sends a request with header fields given in pairs. A body is JSON.
func (r *reader) send(method, path, body string, header ...string) answer {
	r.t.Helper()
	target := path
	if !strings.HasPrefix(target, "https://") {
		target = r.p.APIURL() + "/fds/v2/" + path
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.bearer)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{resp.StatusCode, resp.Header, string(all), err}
}

func (r *reader) read(path string, header ...string) answer {
	r.t.Helper()
	return r.send(http.MethodGet, path, "", header...)
}

// idsOf returns the IDs of a list's items in one string.
func idsOf(list json.RawMessage) string {
	var items []struct {
		DeviceID string `json:"device_id"`
		TagID    string `json:"tag_id"`
	}
	if err := json.Unmarshal(list, &items); err != nil || items == nil {
		return "no list: " + string(list)
	}
	var ids []string
	for _, item := range items {
		ids = append(ids, item.DeviceID+item.TagID)
	}
	return strings.Join(ids, " ")
}

func (ans answer) refused(t *testing.T, what string, status int, message string) {
	t.Helper()
	if m := ans.json(t); ans.status != status || m["status"] != float64(status) || m["message"] != message {
		t.Errorf("%s: %d %s, want %d %s", what, ans.status, ans.body, status, message)
	}
}

func TestIDsAreSeparatedAsTheOptionsSay(t *testing.T) {
	for separator, sent := range map[string]string{"": ",", ",": ",", ";": ";", " ": " ", "|": "|", "; ": "; "} {
		r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{IDsSeparator: separator}}, "A", "B", "C")
		if got := idsOf(json.RawMessage(r.read("specifications?" + url.Values{"ids": {"A" + sent + "C"}}.Encode()).body)); got != "A C" {
			t.Errorf("separated by %q: %s", separator, got)
		}
		if separator == ";" {
			if got := idsOf(json.RawMessage(r.read("specifications?ids=A,C").body)); got != "" {
				t.Errorf("separated by a comma where %q is right: %s", separator, got)
			}
			r.read("specifications?ids=A%3B").refused(t, "an ID is missing", 400, "invalid_parameter_value")
		}
	}
}

func TestAListIsInTheMemberThatTheOptionsName(t *testing.T) {
	for _, member := range []string{"items", "data.items", `"`} {
		r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{ListMember: member}}, "A", "B")
		for path, want := range map[string]string{"specifications": "A B", "specifications?ids=B": "B", "specifications?ids=C": "", "statuses": "", "tag": ""} {
			var members map[string]json.RawMessage
			ans := r.read(path)
			if err := json.Unmarshal([]byte(ans.body), &members); err != nil || len(members) != 1 || idsOf(members[member]) != want {
				t.Errorf("%s in %q: %d %s", path, member, ans.status, ans.body)
			}
		}
		r.read("specifications?x=1").refused(t, "an error", 400, "invalid_parameter")
	}
}

func TestTheLanguageIsEchoedOnEveryList(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{LanguageParameter: "lang"}})
	for _, list := range []string{"specifications", "statuses", "statistics", "diagnostics", "spaces", "events", "event_specifications", "tag"} {
		if ans := r.read(list + "?lang=de-CH"); ans.status != 200 || ans.header.Get("Content-Language") != "de-CH" {
			t.Errorf("%s: %d, Content-Language %q", list, ans.status, ans.header.Get("Content-Language"))
		}
		if ans := r.read(list); ans.status != 200 || ans.header.Get("Content-Language") != "" {
			t.Errorf("%s without a language: %d, Content-Language %q", list, ans.status, ans.header.Get("Content-Language"))
		}
		r.read(list+"?language=de").refused(t, "another name", 400, "invalid_parameter")
		r.read(list+"?lang=de&lang=en").refused(t, "two languages", 400, "duplicate_parameter")
	}
	for _, value := range []string{"", "de_CH", "-", "de-", "4e", "deutschland", "de%0D%0AX:1", strings.Repeat("a-", 40) + "a"} {
		r.read("spaces?lang="+value).refused(t, value, 400, "invalid_parameter_value")
	}
	newReader(t, fdstest.Options{}).read("spaces?lang=de").refused(t, "no such parameter", 400, "invalid_parameter")
}

func TestOneTagIsChosenByTheParameterThatTheOptionsName(t *testing.T) {
	r := newReader(t, fdstest.Options{WebAPI: fdstest.WebAPI{TagParameter: "id", LanguageParameter: "lang", ListMember: "items"}})
	made := r.send(http.MethodPost, "tag", `{"generic":{"name":"Ground floor"}}`)
	r.send(http.MethodPost, "tag", `{"generic":{}}`)
	id, _ := made.json(t)["tag_id"].(string)
	if made.status != http.StatusCreated || id == "" || made.header.Get("Location") != "/fds/v2/tag/"+id {
		t.Fatalf("made: %d %s at %q", made.status, made.body, made.header.Get("Location"))
	}
	if ans := r.read("tag?id=" + id); ans.status != 200 || ans.body != made.body {
		t.Errorf("%d %s, want %s", ans.status, ans.body, made.body)
	}
	if ans := r.read("tag?lang=fr&id=" + id); ans.status != 200 || ans.header.Get("Content-Language") != "fr" {
		t.Errorf("with a language: %d, %q", ans.status, ans.header.Get("Content-Language"))
	}
	r.read("tag?id=unknown").refused(t, "unknown", 404, "not_found")
	r.read("tag?id=").refused(t, "empty", 400, "invalid_parameter_value")
	r.read("tag?id="+id+"&ids="+id).refused(t, "one and several", 400, "invalid_parameter")
	r.read("spaces?id="+id).refused(t, "another list", 400, "invalid_parameter")
	newReader(t, fdstest.Options{}).read("tag?id=x").refused(t, "no such parameter", 400, "invalid_parameter")
	other := *r
	other.bearer = tokenOf(t, r.p, r.p.Owners()[1])
	other.read("tag?id="+id).refused(t, "another owner's", 404, "not_found")
}

func TestATagIsMadeFilledReadAndDeletedByItsOwnerOnly(t *testing.T) {
	r := newReader(t, fdstest.Options{}, "A", "B")
	other := *r
	other.bearer = tokenOf(t, r.p, r.p.Owners()[1])
	made := r.send(http.MethodPost, "tag", `{"generic":{"name":"Ground floor"}}`)
	id, _ := made.json(t)["tag_id"].(string)
	location := r.p.APIURL() + made.header.Get("Location")
	for _, step := range []struct {
		who        *reader
		method     string
		path, body string
		status     int
		message    string
	}{
		{r, http.MethodPost, "tag", `[]`, 400, "invalid_body"},
		{r, http.MethodPost, "tag", `{"generic":{"x":"` + strings.Repeat("x", 64<<10) + `"}}`, 413, "request_entity_too_large"},
		{&other, http.MethodPut, location + "/entities", `[]`, 404, "not_found"},
		{r, http.MethodPut, location + "/entities", `{}`, 400, "invalid_body"},
		{r, http.MethodPut, location + "/entities", `["C"]`, 400, "unknown_entity"},
		{r, http.MethodPut, location + "/entities", `["A","B"]`, 200, ""},
		{r, http.MethodPut, location + "/entities", `["B"]`, 200, ""},
		{&other, http.MethodDelete, location, "", 404, "not_found"},
		{r, http.MethodGet, "tag?ids=" + id, "", 200, ""},
		{r, http.MethodDelete, location, "", 204, ""},
		{r, http.MethodDelete, location, "", 404, "not_found"},
	} {
		ans := step.who.send(step.method, step.path, step.body)
		if step.message != "" {
			ans.refused(t, step.method+" "+step.path, step.status, step.message)
		} else if ans.err != nil || ans.status != step.status || ans.status == 204 && ans.body != "" {
			t.Errorf("%s %s: %d %s, %v", step.method, step.path, ans.status, ans.body, ans.err)
		}
		if step.method == http.MethodGet && !strings.Contains(ans.body, `"entities":["B"]`) {
			t.Errorf("filled: %s", ans.body)
		}
		if got := other.read("tag").body; got != "[]" {
			t.Fatalf("another owner sees %s", got)
		}
	}
	if got := r.read("tag").body; got != "[]" {
		t.Errorf("deleted, it is still there: %s", got)
	}
}
