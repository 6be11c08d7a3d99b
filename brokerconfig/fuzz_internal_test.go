package brokerconfig

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

const fuzzOwner, fuzzGone = "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01", "2B7F1D2F-6CAE-4D64-9C1F-3A0E2D8B4F02"

// fuzzRecord has an owner and a provider, and one of each who was revoked.
func fuzzRecord() *record {
	gone := time.Unix(1, 0)
	r := newRecord()
	r.Providers["soap-inc"] = &provider{Connections: 2}
	r.Clients = map[string]*client{fuzzOwner: {}, fuzzGone: {Revoked: &gone}, "soap-inc-1": {}, "soap-inc-2": {Revoked: &gone}}
	return r
}

// said is a rule without the place where it stands.
func said(r rule) string {
	return fmt.Sprintf("%q %v %v %d %q", r.user, r.named, r.pattern, r.access, r.topic)
}

// FuzzRules has any text for mosquitto.conf and acl: both are read and judged within bounds, and an
// ACL that is brought up to date allows what it should, nothing more than before besides, and
// stays.
func FuzzRules(f *testing.F) {
	folder := &folder{path: "/srv/broker"}
	f.Add(folder.configuration(8883), []byte(aclHead+"\npattern read fds/v2/%u/#\n\nuser soap-inc-1\ntopic write fds/v2/"+fuzzOwner+"/#\n"))
	f.Add([]byte("listener 1883\nallow_anonymous 1\n \n"), []byte("user soap-inc-2\ntopic write fds/v2/"+fuzzGone+"/#\n\ntopic read x\nuser "+fuzzGone+"\ntopic deny #\nuser\ntopic\tx"))
	f.Add([]byte("port 1883 \r\n\x00"), []byte("user soap-inc-1 \r\n topic readwrite  fds/v2/+/#\r\npattern fds/%u\n# x"))
	f.Fuzz(func(t *testing.T, conf, acl []byte) {
		r := fuzzRecord()
		faults := map[string]int{}
		j := judge{fault: func(field, remedy, format string, args ...any) { faults[fmt.Sprintf(format, args...)]++ }, file: folder.file}
		j.conf(parseConf(conf))
		j.acl(aclName, parseACL(acl), r)

		list := parseACL(acl)
		if got := bytes.TrimSuffix(list.bytes(), []byte("\n")); len(acl) > 0 && !bytes.Equal(got, bytes.TrimSuffix(acl, []byte("\n"))) {
			t.Fatalf("%q is written as %q", acl, got)
		}
		before := map[string]bool{}
		for _, rule := range list.rules {
			before[said(rule)] = true
		}
		faulty := len(list.faulty)
		list.amend(r.publishers(), r.shutOut())
		once := list.bytes()
		wanted := map[string]bool{}
		for _, rule := range parseACL([]byte("pattern read " + readOwn + "\nuser soap-inc-1\ntopic write " + treeOf(fuzzOwner) + "\nuser " + fuzzGone + "\ntopic deny #\n")).rules {
			wanted[said(rule)] = true
		}
		again := parseACL(once)
		for _, rule := range again.rules {
			if text := said(rule); !before[text] && !wanted[text] {
				t.Errorf("%q is new in\n%s", text, once)
			}
			delete(wanted, said(rule))
			if rule.user == "soap-inc-2" && rule.generated() {
				t.Errorf("who was revoked publishes in\n%s", once)
			}
		}
		delete(wanted, said(rule{pattern: true, access: read, topic: readOwn})) // a wider one may stand for it
		if len(wanted) > 0 || !slices.ContainsFunc(again.rules, rule.readsOwn) {
			t.Errorf("%v is missing in\n%s", wanted, once)
		}
		if len(again.faulty) > faulty {
			t.Errorf("faulty lines were added:\n%s", once)
		}
		again.amend(r.publishers(), r.shutOut())
		if !bytes.Equal(again.bytes(), once) {
			t.Errorf("\n%s\nbecame\n%s", once, again.bytes())
		}
	})
}

func FuzzRecord(f *testing.F) {
	data, err := fuzzRecord().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"providers":{"a":{"connections":1,"owners":[]}},"clients":{"a-1":{"certificates":[{"serial":"-1f"}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		for connection, owners := range r.publishers() {
			if !isConnection(connection) || slices.ContainsFunc(owners, func(name string) bool { return !isOwner(name) }) {
				t.Errorf("%q publishes to %q", connection, owners)
			}
		}
		r.shutOut()
		r.revocations(nil, time.Now())
		list := parseACL(nil)
		list.amend(r.publishers(), r.shutOut())
		if len(list.faulty) > 0 {
			t.Errorf("its ACL is\n%s", list.bytes())
		}
	})
}
