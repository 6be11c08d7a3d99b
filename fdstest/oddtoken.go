package fdstest

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
)

// OddTokenAnswers lists the successful token answers that real servers give, or
// that break on the way, in other forms than RFC 6749 section 5.1 has them. The
// work is done: at a renewal the refresh token is spent. An answer that is not
// Harmless may be refused, but for its refresh token if RefreshToken says so. Error
// answers pass, and do not count for Fault.Times. The entries about token_type are
// for bearer tokens.
func OddTokenAnswers() []Odd {
	var list []Odd
	add := func(harmless, refreshToken bool, name string, rewrite func(*Reply)) {
		list = append(list, Odd{Name: name, Harmless: harmless, RefreshToken: refreshToken, Fault: inReplies("", TokenEndpoint, issuesTokens, rewrite)})
	}
	for _, odd := range oddMembers {
		add(odd.harmless, odd.refreshToken, odd.name, is(odd.member, odd.value))
	}
	for _, contentType := range []string{"text/plain", "text/html; charset=utf-8", "application/octet-stream", "application/json; charset", ""} {
		name := "as " + contentType
		if contentType == "" {
			name = "without a content type"
		}
		add(true, true, name, func(r *Reply) { r.setType(contentType) })
	}
	add(true, true, "a byte order mark", func(r *Reply) { r.Body = []byte(byteOrderMark + string(r.Body)) })
	add(true, true, "white space around it", func(r *Reply) { r.Body = []byte(" \r\n\t" + string(r.Body) + "\r\n ") })
	add(true, true, "status 201", func(r *Reply) { r.Status = http.StatusCreated })

	add(true, true, "unknown members", inMembers(func(m members) string {
		return m.and("ok", "true").and("user", `{"id":1,"refresh_token":"nested"}`).and("ext", "[null]").String()
	}))
	add(true, true, "members that differ in case alone", inMembers(func(m members) string {
		return m.and("Access_Token", `"of another case"`).and("REFRESH_TOKEN", `"of another case"`).String()
	}))
	add(true, true, "names and values in escapes", inMembers(func(m members) string {
		for i := range m {
			m[i].value = escaped(m[i].value)
		}
		return strings.ReplaceAll(m.String(), `_token":`, `\u005ftoken":`)
	}))
	add(true, true, "a member of 32 KiB in front", inMembers(func(m members) string { return m.and("ext", filler(32<<10)).first("ext").String() }))
	add(true, true, "a member 16 levels deep", inMembers(func(m members) string { return m.and("ext", nested(16)).first("ext").String() }))
	add(false, true, "100,000 levels deep behind the refresh token", inMembers(func(m members) string { return m.and("ext", nested(100_000)).String() }))
	add(false, false, "100,000 levels deep in front of it", inMembers(func(m members) string { return m.and("ext", nested(100_000)).first("ext").String() }))
	add(false, true, "512 KiB behind the refresh token", inMembers(func(m members) string { return m.and("ext", filler(512<<10)).String() }))
	add(false, false, "512 KiB in front of it", inMembers(func(m members) string { return m.and("ext", filler(512<<10)).first("ext").String() }))

	for _, name := range []string{"access_token", "refresh_token", "expires_in"} {
		add(false, true, name+" twice, the same", inMembers(func(m members) string { return m.twice(name, "").String() }))
		add(false, name != "refresh_token", name+" twice, different", inMembers(func(m members) string { return m.twice(name, `"another"`).String() }))
	}
	add(false, false, "the refresh token in a member of its own", inMembers(func(m members) string {
		token := m.get("refresh_token")
		return m.without("refresh_token").and("data", `{"refresh_token":`+token+`}`).String()
	}))
	add(false, false, "all in a member of its own", inMembers(func(m members) string { return `{"data":` + m.String() + `}` }))
	add(false, false, "in an array", inMembers(func(m members) string { return "[" + m.String() + "]" }))

	for _, lost := range []bool{false, true} {
		// cut ends the answer before, within or behind the refresh token.
		cut := func(refreshToken bool, name string, end func(begin, length, all int) int) {
			if lost {
				name += ", and the connection lost"
			}
			add(false, refreshToken, name, func(r *Reply) {
				m, _ := readMembers(r.Body)
				token := cmp.Or(m.get("refresh_token"), m.get("access_token"))
				text := m.first("refresh_token").first("scope").String()
				r.Body, r.Cut = []byte(text[:end(strings.Index(text, token), len(token), len(text))]), lost
			})
		}
		cut(true, "cut at the last character", func(_, _, all int) int { return all - 1 })
		cut(true, "cut behind the refresh token", func(begin, length, _ int) int { return begin + length + 2 })
		cut(false, "cut within the refresh token", func(begin, length, _ int) int { return begin + length/2 })
		cut(false, "cut in front of the refresh token", func(begin, _, _ int) int { return begin })
	}
	add(false, true, "something behind it", func(r *Reply) { r.Body = append(r.Body, "garbage"...) })
	add(false, true, "a second object behind it", func(r *Reply) { r.Body = append(r.Body, "{}"...) })
	add(false, false, "nothing", func(r *Reply) { r.Body = nil })
	add(false, false, "a page of HTML", signIntoNetwork)
	add(false, false, "status 500", func(r *Reply) { r.Status = http.StatusInternalServerError })
	return inList("OddTokenAnswers", list)
}

// oddMembers are the token answers of which one member is odd; no value takes it
// out.
var oddMembers = []struct {
	name, member, value    string
	harmless, refreshToken bool
}{
	{"expires_in 3599.97", "expires_in", "3599.97", true, true},
	{"expires_in 3600.0", "expires_in", "3600.0", true, true},
	{"expires_in 36e2", "expires_in", "36e2", true, true},
	{`expires_in "3600"`, "expires_in", `"3600"`, true, true},
	{`expires_in "3600.0"`, "expires_in", `"3600.0"`, true, true},
	{`expires_in ""`, "expires_in", `""`, true, true},
	{`expires_in "never"`, "expires_in", `"never"`, true, true},
	{"expires_in null", "expires_in", "null", true, true},
	{"expires_in true", "expires_in", "true", true, true},
	{"expires_in -1", "expires_in", "-1", true, true},
	{"expires_in 0", "expires_in", "0", true, true},
	{"expires_in 1e300", "expires_in", "1e300", true, true},
	{"expires_in of 30 digits", "expires_in", strings.Repeat("9", 30), true, true},
	{"expires_in an object", "expires_in", `{"seconds":[3600,{"or":null}]}`, true, true},
	{"no expires_in", "expires_in", "", true, true},
	{"refresh_expires_in 0, which means never", "refresh_expires_in", "0", true, true},
	{`refresh_expires_in "never"`, "refresh_expires_in", `"never"`, true, true},
	{"error false", "error", "false", true, true},
	{`error ""`, "error", `""`, true, true},
	{"error null", "error", "null", true, true},
	{"scope an array", "scope", `["openid","offline_access"]`, true, true},
	{"scope null", "scope", "null", true, true},
	{"scope a number", "scope", "7", true, true},
	{"token_type BEARER", "token_type", `"BEARER"`, true, true},
	{"token_type bearer", "token_type", `"bearer"`, true, true},
	{"token_type a number", "token_type", "1", false, true},
	{"no token_type", "token_type", "", false, true},
	{"access_token a number", "access_token", "7", false, true},
	{"access_token null", "access_token", "null", false, true},
	{"no access_token", "access_token", "", false, true},
	{"refresh_token null", "refresh_token", "null", false, false},
	{`refresh_token ""`, "refresh_token", `""`, false, false},
	{"refresh_token a number", "refresh_token", "7", false, false},
}

// issuesTokens reports whether an answer of the token endpoint is a successful one.
func issuesTokens(r *Reply) bool {
	m, ok := readMembers(r.Body)
	return ok && r.Status == http.StatusOK && m.get("access_token") != ""
}

// signIntoNetwork makes an answer a page of HTML, as WebPage does in its place.
func signIntoNetwork(r *Reply) {
	r.Body = []byte(signInPage)
	r.setType("text/html; charset=utf-8")
}

// OddRefusals lists error answers of the token endpoint with that code, in other
// forms than RFC 6749 section 5.2 has them. The request is not looked at: no
// refresh token and no code is spent. Of those that are not Harmless the code
// cannot be read, and they say nothing about the grant.
func OddRefusals(code string) []Odd {
	var list []Odd
	add := func(harmless bool, name string, status int, contentType, body string) {
		list = append(list, Odd{Name: name, Harmless: harmless, Fault: Answer(TokenEndpoint, status, contentType, body)})
	}
	const asJSON = "application/json"
	object := `{"error":` + quoted(code) + `,"error_description":"the token is not active"}`
	with := func(more string) string { return `{"error":` + quoted(code) + "," + more + "}" }
	add(true, "as text/plain", 400, "text/plain", object)
	add(true, "as text/html", 400, "text/html; charset=utf-8", object)
	add(true, "without a content type", 400, "", object)
	for _, status := range []int{200, 401, 403, 500} {
		add(true, fmt.Sprintf("status %d", status), status, asJSON, object)
	}
	add(true, "status 500, as text/plain", 500, "text/plain; charset=utf-8", object)
	add(true, "status 200, as text/plain", 200, "text/plain", object)
	add(true, "a byte order mark", 400, asJSON, byteOrderMark+object)
	add(true, "white space around it", 400, asJSON, "\r\n "+object+"\r\n")
	add(true, "no description", 400, asJSON, `{"error":`+quoted(code)+"}")
	add(true, "error_description null", 400, asJSON, with(`"error_description":null`))
	add(true, "error_description an object", 400, asJSON, with(`"error_description":{"en":"no","codes":[1]}`))
	add(true, "error_description hostile", 400, asJSON, with(`"error_description":`+quoted(HostileText)))
	add(true, "error_description of 4 KiB", 400, asJSON, with(`"error_description":`+filler(4<<10)))
	add(true, "unknown members", 400, asJSON, with(`"error_codes":[70008],"timestamp":1.5,"ext":`+nested(16)))
	add(true, "null tokens beside it", 400, asJSON, with(`"access_token":null,"refresh_token":""`))
	add(false, "in an object of its own", 400, asJSON, `{"error":{"code":`+quoted(code)+`}}`)
	add(false, "in a list", 400, asJSON, `{"errors":[`+quoted(code)+`]}`)
	add(false, "in an array", 400, asJSON, `[`+object+`]`)
	add(false, "cut", 400, asJSON, object[:len(`{"error":"`)+2])
	add(false, "100,000 levels deep in front of it", 400, asJSON, `{"ext":`+nested(100_000)+`,"error":`+quoted(code)+"}")
	add(false, "in a page of HTML", 400, "text/html; charset=utf-8", "<!DOCTYPE html><title>Error</title><p>"+code)
	add(false, "nothing", 400, asJSON, "")
	return inList("OddRefusals", list)
}
