package brokerconfig_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/fds"
)

// faultsOf returns what Inspect finds.
func faultsOf(t testing.TB, dir string) []fds.Fault {
	t.Helper()
	state, err := brokerconfig.Inspect(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return state.Faults
}

// edited has a file changed by hand for the time of a test, and returns what Inspect finds.
func edited(t *testing.T, dir, name string, change func(string) string) []fds.Fault {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after := change(string(before))
	if after == string(before) {
		t.Fatalf("%s was not changed", name)
	}
	put := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put([]byte(after))
	defer put(before)
	return faultsOf(t, dir)
}

func TestAttackAnEditThatBreaksARuleOfFDSIsFound(t *testing.T) {
	c := configFor(t)
	c.Providers = append(c.Providers, brokerconfig.Provider{Name: "towels", Owners: []fds.SubscriptionID{idOf(t, ownerB)}})
	wellWritten(t, c)
	conf := func(old, now string) [3]string { return [3]string{"mosquitto.conf", old, now} }
	acl := func(old, now string) [3]string { return [3]string{"acl", old, now} }
	for name, test := range map[string]struct {
		edit [3]string // file, old text ("": the end of the file), new text
		want string
	}{
		"anonymous":                   {conf("allow_anonymous false", "allow_anonymous true"), "lets in who has no name (M2)"},
		"anonymous, spelt 1":          {conf("allow_anonymous false", "allow_anonymous  1"), "lets in who has no name (M2)"},
		"no certificate asked for":    {conf("require_certificate true", "require_certificate false"), "switches require_certificate off: who has no certificate is let in (M2)"},
		"no certificate, by a tab":    {conf("require_certificate true", "require_certificate\ttrue"), "is a listener without require_certificate"},
		"no certificate, later":       {conf("require_certificate true", "require_certificate true\nrequire_certificate false"), "switches require_certificate off"},
		"no name":                     {conf("use_identity_as_username true\n", ""), "is a listener without use_identity_as_username: the ACL does not know who a client is (M5)"},
		"client IDs can be taken":     {conf("use_username_as_clientid true\n", ""), "throw it off (M4)"},
		"client IDs, in a comment":    {conf("use_username_as_clientid true", "#use_username_as_clientid true"), "throw it off (M4)"},
		"another name":                {conf("use_username_as_clientid true", "use_username_as_clientid true\nuse_subject_as_username true"), "(M4)"},
		"a second listener":           {conf("", "listener 1883\n"), "is a listener without TLS (M1)"},
		"the default listener":        {conf("persistence true", "port 1883"), "is a listener without TLS (M1)"},
		"a listener of websockets":    {conf("", "listener 8884\nprotocol websockets\n"), "is a listener without TLS (M1)"},
		"a listener that trusts":      {conf("", "listener 8884\ncertfile x\nkeyfile x\n"), "is a listener without require_certificate"},
		"a setting above the rest":    {conf("persistence true", "persistence true\nmax_connections 10"), "is a listener without TLS (M1)"},
		"the default listener, below": {conf("", "port 1883\n"), "is a listener without TLS (M1)"},
		"an address of the default":   {conf("", "bind_address 127.0.0.1\n"), "is a listener without TLS (M1)"},
		"websockets with TLS":         {conf("", "protocol websockets\n"), "who was revoked is let in (M2)"},
		"a line that hides the rest":  {conf("require_certificate true", "# x\x00\nrequire_certificate true"), "has a NUL"},
		"a value that is hidden":      {conf("allow_anonymous false", "allow_anonymous true\x00"), "has a NUL"},
		"old TLS":                     {conf("tls_version tlsv1.2", "tls_version tlsv1"), "does not see to TLS 1.2"},
		"no version of TLS":           {conf("tls_version tlsv1.2", ""), "does not see to TLS 1.2"},
		"no encryption":               {conf("tls_version tlsv1.2", "tls_version tlsv1.2\nciphers eNULL"), "not encrypted"},
		"no revocation list":          {conf("crlfile", "#crlfile"), "who was revoked is let in (M2)"},
		"another revocation list":     {conf("/crl.pem", "/crl2.pem"), "goes by another revocation list"},
		"no ACL":                      {conf("acl_file", "#acl_file"), "names no ACL"},
		"another ACL":                 {conf("/acl\n", "/acl2\n"), "is missing"},
		"an ACL somewhere":            {conf("acl_file /", "acl_file ./"), "is no full path"},
		"authorities in a folder":     {conf("cafile", "capath /etc/ssl/certs\ncafile"), "lets in whom other authorities vouch for (M2)"},
		"keys instead":                {conf("cafile", "psk_hint x\ncafile"), "lets in who has a key and no certificate (M2)"},
		"a plugin":                    {conf("", "plugin /tmp/x.so\n"), "of which nothing is known here"},
		"a setting of the future":     {conf("", "listener_allow_anonymous true\n"), "of which nothing is known here"},
		"more files":                  {conf("", "include_dir /etc/mosquitto/conf.d\n"), "leads to further settings"},
		"a bridge":                    {conf("", "connection out\naddress example.com\ntopic # both\n"), "of which nothing is known here"},
		"an ACL for each listener":    {conf("per_listener_settings false", "per_listener_settings true"), "hold for some listeners alone"},
		"a mount point":               {conf("", "mount_point fds/v2/\n"), "moves topics"},
		"everybody reads everything":  {acl("", "pattern read #\n"), `lets everybody read "#", beyond their own topics (M5)`},
		"everybody reads the tree":    {acl("", "pattern read fds/v2/#\n"), "(M5)"},
		"a pattern of a pattern":      {acl("", "pattern read fds/v2/%u/%c/#\n"), "(M5)"},
		"the wrong end":               {acl("", "pattern read fds/v2/+/%u\n"), "(M5)"},
		"owners publish":              {acl("pattern read", "pattern readwrite"), "lets owners publish to"},
		"owners publish, unsaid":      {acl("pattern read fds", "pattern fds"), "lets owners publish to"},
		"an owner publishes":          {acl("", "user "+ownerA+"\ntopic write fds/v2/"+ownerA+"/#\n"), "lets owner " + ownerA + " publish (M7)"},
		"an owner reads another's":    {acl("", "user "+ownerA+"\ntopic read fds/v2/"+ownerB+"/#\n"), "beyond its own topics (M5)"},
		"an owner reads all":          {acl("", "user "+ownerA+"\ntopic read fds/v2/+/#\n"), "beyond its own topics (M5)"},
		"an owner in other letters":   {acl("", "user "+ownerB+"\ntopic read fds/v2/"+strings.ToLower(ownerB)+"/#\n"), "beyond its own topics (M5)"},
		"a provider reads":            {acl("", "user soap-inc-1\ntopic read fds/v2/"+ownerA+"/#\n"), "only owners read (M5)"},
		"a provider publishes to all": {acl("", "user soap-inc-1\ntopic write fds/v2/+/#\n"), "beyond its owners (M6)"},
		"a provider of another":       {acl("", "user towels-1\ntopic write fds/v2/"+ownerA+"/#\n"), "lets towels-1 publish to"},
		"nobody's provider":           {acl("", "user eve-1\ntopic write fds/v2/"+ownerA+"/#\n"), "who is no connection of a provider"},
		"who has no name":             {acl("pattern read", "topic read fds/v2/#\npattern read"), "clients without a name"},
		"owners cannot read":          {acl("pattern read fds/v2/%u/#\n", ""), "has no rule by which owners read"},
		"a provider cannot publish":   {acl("topic write fds/v2/"+ownerA+"/#\n", ""), "does not let soap-inc-1 publish to 1 of its owners"},
		"a line that is none":         {acl("", "topic  allow fds\n"), "never reload"},
		"a comment that is none":      {acl("", " # x\n"), "never reload"},
		"a hidden line":               {acl("", "user x\x00\n"), "has a NUL"},
		"a comment that hides":        {acl("user soap-inc-1", "# x\x00\nuser soap-inc-1"), "has a NUL"},
		"a list with a lost hyphen":   {[3]string{"crl.pem", "-----BEGIN", "----BEGIN"}, "is of no use: it holds no revocation list as Mosquitto reads it (M2)"},
		"a list that was quoted":      {[3]string{"crl.pem", "-----BEGIN", "> -----BEGIN"}, "Mosquitto reads it (M2)"},
		"a list on one line":          {[3]string{"crl.pem", "\nM", "M"}, "(M2)"},
		"a list with a header":        {[3]string{"crl.pem", "CRL-----\n", "CRL-----\na: b\n\n"}, "it was edited, and Mosquitto may not read it (M2)"},
	} {
		t.Run(name, func(t *testing.T) {
			faults := edited(t, c.Dir, test.edit[0], func(text string) string {
				if test.edit[1] == "" {
					return text + test.edit[2]
				}
				return strings.Replace(text, test.edit[1], test.edit[2], 1)
			})
			if !slices.ContainsFunc(faults, func(f fds.Fault) bool { return strings.Contains(f.String(), test.want) }) {
				t.Errorf("no fault has %q: %v", test.want, faults)
			}
		})
	}
	faults := edited(t, c.Dir, "mosquitto.conf", func(text string) string { return text[:strings.Index(text, "listener 8883")] })
	if len(faults) != 1 || !strings.Contains(faults[0].Problem, "without TLS (M1)") {
		t.Errorf("without a listener: %v", faults)
	}
	if faults := faultsOf(t, c.Dir); len(faults) > 0 {
		t.Errorf("at the end: %v", faults)
	}
}

func TestAnEditThatBreaksNothingIsNoFaultAndStays(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	edits := map[string]func(string) string{
		"mosquitto.conf": func(text string) string {
			return strings.Replace(text, "max_keepalive 600", "max_keepalive 60\nlog_type subscribe\n# mine", 1) + "max_connections 50\n"
		},
		"acl": func(text string) string {
			return strings.Replace(text, "\nuser soap-inc-1\n", "\n# the first one\r\nuser soap-inc-1\n", 1) + "\n# all of them\npattern deny fds/v2/%u/private/#\nuser " + ownerA + "\ntopic read fds/v2/" + ownerA + "/x\n"
		},
		"README.txt": func(string) string { return "mine\n" },
	}
	for name, edit := range edits {
		path := filepath.Join(c.Dir, name)
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(edit(string(data))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, c.Dir)
	wellWritten(t, c)
	if names := changed(before, contents(t, c.Dir)); len(names) > 0 {
		t.Errorf("changed were %q", names)
	}
	c.Owners = append(c.Owners, rootOf(t, ownerC))
	wellWritten(t, c)
	after := contents(t, c.Dir)["acl"]
	if without := strings.ReplaceAll(after, "topic write fds/v2/"+ownerC+"/#\n", ""); without != before["acl"] || strings.Count(after, ownerC) != 2 {
		t.Errorf("acl was\n%s\nand is\n%s", before["acl"], after)
	}
}

func TestAttackTheRulesOfWhoIsRevokedBecomeNobodyElses(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	path := filepath.Join(c.Dir, "acl")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// By hand, below a blank line: it is the user's above all the same.
	mine := strings.Replace(string(data), "\nuser soap-inc-2\n", "\ntopic deny fds/v2/"+ownerA+"/private/#\n\nuser soap-inc-2\n", 1)
	if err := os.WriteFile(path, []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Revoke = []string{"soap-inc-1"}
	wellWritten(t, c)
	text := contents(t, c.Dir)["acl"]
	user := ""
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "user "); ok {
			user = strings.TrimSpace(name)
		}
		if strings.Contains(line, "private") && user != "soap-inc-1" {
			t.Errorf("the rule is %q's now:\n%s", user, text)
		}
		if strings.Contains(line, "topic write") && user == "soap-inc-1" {
			t.Errorf("soap-inc-1 publishes still:\n%s", text)
		}
	}
}

func TestWhoIsRevokedIsTakenOutAndCanBeIssuedAgain(t *testing.T) {
	c := configFor(t)
	wellWritten(t, c)
	before := contents(t, c.Dir)
	file := "owners/" + strings.ToLower(ownerB) + ".pem"
	c.Revoke = []string{strings.ToLower(ownerB), "soap-inc"}
	result := wellWritten(t, c)
	after := contents(t, c.Dir)
	if want := []string{"acl", "crl.pem", "issued.json", file, "providers/soap-inc-1.pem", "providers/soap-inc-2.pem"}; !slices.Equal(changed(before, after), want) {
		t.Errorf("changed were %q", changed(before, after))
	}
	if after[file] != "" || outcomes(result)[file] != brokerconfig.Revoked || !strings.HasSuffix(after["acl"], "\nuser "+ownerB+"\ntopic deny #\n") || strings.Contains(after["acl"], "soap-inc") {
		t.Errorf("the owner's file is %q; acl:\n%s", after[file], after["acl"])
	}
	for _, entry := range result.Entries {
		if entry.File == file && entry.Revoked.IsZero() {
			t.Errorf("%+v", entry)
		}
	}
	wellWritten(t, c) // and once more
	c.Revoke = nil
	wellWritten(t, c) // named among the owners still, it gets nothing
	if names := changed(after, contents(t, c.Dir)); len(names) > 0 {
		t.Errorf("changed were %q", names)
	}
	c.Reissue = []string{ownerB, "soap-inc-2"}
	if result := wellWritten(t, c); !result.Restart || result.Reload {
		t.Errorf("a name is issued again, for which who is connected goes on: restart %v, reload %v", result.Restart, result.Reload)
	}
	again := contents(t, c.Dir)
	if again[file] == "" || leafIn(t, again[file]).SerialNumber.Cmp(leafIn(t, before[file]).SerialNumber) == 0 || again["providers/soap-inc-1.pem"] != "" {
		t.Error("it was not issued again, or another one was")
	}
	if strings.Contains(again["acl"], "deny") || strings.Count(again["acl"], "topic write") != 2 {
		t.Errorf("acl:\n%s", again["acl"])
	}
	if again["crl.pem"] != after["crl.pem"] {
		t.Error("the revocation list was changed")
	}
	// A stolen key is replaced in one call.
	c.Revoke, c.Reissue = []string{ownerA}, []string{ownerA}
	result = wellWritten(t, c)
	if got := outcomes(result)["owners/"+ownerA+".pem"]; got != brokerconfig.Made || !result.Restart {
		t.Errorf("%s, restart %v", got, result.Restart)
	}
	c.Revoke, c.Reissue = nil, nil
	if result = wellWritten(t, c); result.Restart || result.Reload {
		t.Errorf("nothing has changed: restart %v, reload %v", result.Restart, result.Reload)
	}
}
