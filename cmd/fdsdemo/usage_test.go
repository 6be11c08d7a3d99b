package main

import (
	"log/slog"
	"strings"
	"testing"
)

func TestAWordThatIsNoneLeadsToTheOneThatWasMeant(t *testing.T) {
	s := newSetup(t)
	for args, says := range map[string]string{
		"wacth": "did you mean watch?", "help wacth": "did you mean watch?", "web": "did you mean webhook?", "tag creat": "did you mean create?",
		"get specificatons": "did you mean specifications?", "watch --ownr x": "did you mean --owner?",
	} {
		s.run(strings.Fields(args)...).expect(statusUsage).says(says)
	}
	if r := s.run("xyzzy").expect(statusUsage); strings.Contains(r.err, "did you mean") {
		t.Errorf("stderr %q", r.err)
	}
	s.configure("tokens:\n", "tokns: {}\ntokens:\n")
	s.run("owners").expect(statusUsage).says(`unknown key "tokns"; did you mean tokens?`)
}

func TestWrongUsageIsStatus2AndOneSentence(t *testing.T) {
	s := newSetup(t)
	for _, c := range []struct {
		args string
		says string
	}{
		{"nonsense", `there is no command "nonsense"`},
		{"check extra", `no argument "extra"`},
		{"check --approve", "--approve and --no-browser go with --sign-in"},
		{"check --sign-in --approve --no-browser", "choose one of --approve, --no-browser"},
		{"check --spare-owner x", `"x" is no owner`},
		{"check --publisher missing.pem", "--publisher: "},
		{"check --expired-token missing.txt", "--expired-token: "},
		{"check --html missing/report.html", "the report cannot be written"},
		{"--nonsense", "unknown flag"},
		{"login --nonsense", "unknown flag"},
		{"login extra", `no argument "extra"`},
		{"login --paste --device", "choose one of --approve, --paste, --device, --application, --redirect-uri; see: fdsdemo login --help"},
		{"login --redirect-uri --application", "choose one of --approve, --paste, --device, --application, --redirect-uri; see: fdsdemo login --help"},
		{"login --approve --device", "choose one of --approve, --paste, --device, --application, --redirect-uri; see: fdsdemo login --help"},
		{"login --approve --no-browser", "choose one of --approve, --no-browser; see: fdsdemo login --help"},
		{"login --redirect-uri --no-browser", "choose one of --no-browser, --redirect-uri; see: fdsdemo login --help"},
		{"login --owner " + north.Spelling, "--owner goes with --approve"},
		{"login --approve --owner x", `"x" is no owner`},
		{"owners extra", `no argument "extra"`},
		{"watch extra", `no argument "extra"`},
		{"provider extra", `no argument "extra"`},
		{"logout", "fdsdemo: logout takes one argument"},
		{"watch --for 2", "--for is \"2\"; needed is a duration such as 24h or 90m; see: fdsdemo watch --help"},
		{"--duration 2", "--duration is \"2\"; needed is a duration"},
		{"config set x", "fdsdemo: config set takes a key and a value"},
		{"logout a b", "one argument"},
		{"logout not-an-id", "is no owner"},
		{"logout 1a6f0c1e-5b9d-1c53-8b0e-2f9d1c7a3e01", "malformed subscription ID"}, // UUID version 1
		{"get", "one argument"},
		{"get devices", `there is no kind "devices"`},
		{"get event_specifications", "event-specifications"},
		{"get statuses --owner 123", "is no owner"},
		{"get statuses --owner=", "--owner is empty; see: fdsdemo get --help"},
		{"get statuses --ids a,,b", "empty ID"},
		{"get statuses --ids=", "--ids is empty"},
		{"spaces extra", `no argument "extra"`},
		{"spaces --owner 123", "is no owner"},
		{"spaces --ids a", "unknown flag"},
		{"get events --from yesterday", `--from "yesterday" is no time`},
		{"get events --from=", "--from is empty"},
		{"get events --to 2025-02-30", `--to "2025-02-30" is no time`},
		{"get events --from 0001-01-01", "is no time"},
		{"get events --from 2025-11-25 --to 2025-11-24T00:00:00Z", "--to 2025-11-24T00:00:00Z is before --from 2025-11-25"},
		{"get events --language=", "--language is empty"},
		{"spaces --from 2025-11-25", "unknown flag"},
		{"tag", "tag needs one of its commands"},
		{"tag nonsense", `there is no command "tag nonsense"`},
		{"tag list extra", `no argument "extra"`},
		{"tag list --owner 123", "is no owner"},
		{"tag create", "tag create needs --name, --set or a file with the tag"},
		{"tag create --entity x", "tag create needs --name, --set or a file with the tag"},
		{"tag create --name x FILE", "FILE has the whole tag"},
		{"tag create FILE OTHER", `no argument "OTHER"`},
		{"tag create --set x", "is not MEMBER=VALUE"},
		{"tag create --set a..b=1", "is not MEMBER=VALUE"},
		{"tag create --set a=1 --set a.b=2", "there is a value at a already"},
		{"tag create --name x --set generic.name=y", "gives generic.name twice"},
		{"tag get", "one argument, the tag's ID"},
		{"tag set a", "takes the tag's ID, and the file of its entities or - or --entity"},
		{"tag set a FILE --entity x", "takes the tag's ID, and the file"},
		{"tag delete a b", "one argument, the tag's ID"},
		{"tag delete a --json", "unknown flag"},
		{"watch --owner 123", "is no owner"},
		{"watch --owner " + north.Spelling + " --owner x", "is no owner"},
		{"provider --dir=", "--dir is empty"},
		{"owners --config=", "--config is empty"},
		{"help nonsense", `there is no command "nonsense"`},
		{"help get nonsense", `there is no command "get nonsense"`},
	} {
		s.run(strings.Fields(c.args)...).expect(statusUsage).says(c.says)
	}
	for _, args := range [][]string{{"--duration", "0s"}, {"--duration", "-5s"}, {"--duration", "soon"}} {
		start(t, invocation(t, args...)).wait().expect(statusUsage).says("duration")
	}
	s.run().expect(statusUsage).says("reads no configuration")
}

func TestHelpIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"help"}, {"get", "--help"}} {
		r := start(t, invocation(t, args...)).wait().expect(statusDone)
		if !strings.Contains(r.out, "Usage:") || r.err != "" {
			t.Errorf("%q: stdout %q, stderr %q", args, r.out, r.err)
		}
	}
}

func TestAMissingConfigurationSaysWhereItShouldBe(t *testing.T) {
	t.Parallel()
	start(t, invocation(t, "owners")).wait().expect(statusUsage).says("there is no configuration at", "fdsdemo.yaml", "fdsdemo provider --dir")
	start(t, invocation(t, "--config", "other.yaml", "owners")).wait().expect(statusUsage).says("other.yaml")
}

func TestEveryFaultOfTheConfigurationIsStatus2(t *testing.T) {
	s := newSetup(t)
	s.write("empty.txt", "\n")
	s.write("lines.txt", "one\ntwo\n")
	s.write("large.txt", strings.Repeat("x", maxSecretBytes+1))
	s.write("file", "")
	s.write("utf16.txt", "\xff\xfes\x00e\x00c\x00")
	s.write("bom.txt", "sec\ufeffret")
	http := strings.Replace(s.box.Issuer(), "https://", "http://", 1)
	mqtt := strings.Replace(s.box.BrokerURL(), "mqtts://", "mqtt://", 1)
	for _, c := range []struct {
		name    string
		replace []string
		says    []string
	}{
		{"an unknown key at the top", []string{"tokens:\n", "tokenz: {}\ntokens:\n"}, []string{`:8: unknown key "tokenz"`}},
		{"a tab before a key", []string{"provider:\n", "provider:\n\tx: y\n"}, []string{":2: ", "not with tabs"}},
		{"an unknown key inside", []string{"  ca_file:", "  cafile: x\n  ca_file:"}, []string{`:5: unknown key "provider.cafile"`}},
		{"a secret in the wrong place", []string{"  client_id: fdsdemo", "  client_id: fdsdemo\n  client_secret: hunter2"}, []string{`:8: unknown key "application.client_secret"`}},
		{"a key twice", []string{"  ca_file: ca.pem", "  ca_file: ca.pem\n  ca_file: ca.pem"}, []string{":6: ", "already defined"}},
		{"a final error that passes", []string{"  ca_file:", "  final_errors: [server_error]\n  ca_file:"}, []string{`provider.final_errors has "server_error"`}},
		{"a text for a switch", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  dpop: maybe"}, []string{":8: ", "is of the wrong kind; needed is true or false"}},
		{"a list of parameters", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  authorization_parameters: [prompt]"}, []string{":8: ", "is of the wrong kind; needed is keys with values below it"}},
		{"a list for a parameter", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  authorization_parameters: {prompt: [login]}"}, []string{":8: ", "is of the wrong kind; needed is a text"}},
		{"a list for a text", []string{"client_id: fdsdemo", "client_id: [a]"}, []string{":7: ", "is of the wrong kind; needed is a text"}},
		{"a text for a list", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  scopes: openid"}, []string{":8: ", "needed is a list such as [a, b]"}},
		{"a text for a port", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  redirect_ports: 8080"}, []string{":8: ", "a list of numbers such as [8080, 8081]"}},
		{"a text for keys", []string{"push:\n  certificates: owners/\n  state_folder: state/\n", "push: owners/\n"}, []string{":12: ", "keys with values below it"}},
		{"no YAML", []string{"provider:", "provider"}, []string{":2: "}},
		{"two documents", []string{"provider:", "---\nprovider: {}\n---\nprovider:"}, []string{"more than one YAML document"}},
		{"an http issuer", []string{s.box.Issuer(), http}, []string{"provider.issuer", "https://"}},
		{"an http API", []string{"api_url: https", "api_url: http"}, []string{"provider.api_url", "https://"}},
		{"an mqtt broker", []string{s.box.BrokerURL(), mqtt}, []string{"provider.broker_url", "mqtts://"}},
		{"an http endpoint", []string{"  ca_file:", "  token_endpoint: http://localhost/token\n  ca_file:"}, []string{"provider.token_endpoint", "https://"}},
		{"a broker's port that is none", []string{s.box.BrokerURL(), "mqtts://localhost:99999"}, []string{`fdsdemo.yaml:4: provider.broker_url has the port "99999"`}},
		{"a broker with a path", []string{s.box.BrokerURL(), s.box.BrokerURL() + "/x"}, []string{"fdsdemo.yaml:4: provider.broker_url may hold host and port only"}},
		{"an API with a query", []string{s.box.APIURL(), s.box.APIURL() + "?a=b"}, []string{"provider.api_url of host"}},
		{"an API with its path", []string{s.box.APIURL(), s.box.APIURL() + "/fds/v2/"}, []string{`provider.api_url "https://`, "is appended; write it without"}},
		{"no issuer", []string{"issuer: " + s.box.Issuer(), `issuer: ""`}, []string{"provider.issuer is missing"}},
		{"no client ID", []string{"client_id: fdsdemo", `client_id: ""`}, []string{"application.client_id is missing"}},
		{"a missing CA file", []string{"ca_file: ca.pem", "ca_file: none.pem"}, []string{"provider.ca_file", "none.pem"}},
		{"a CA file without a certificate", []string{"ca_file: ca.pem", "ca_file: pass.txt"}, []string{"provider.ca_file", "no certificate"}},
		{"an unknown TLS version", []string{"ca_file: ca.pem", "ca_file: ca.pem\n  tls: 1.1"}, []string{"provider.tls", `"1.1"`}},
		{"a missing client secret", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  client_secret_file: none.txt"}, []string{"application.client_secret_file", "none.txt"}},
		{"an empty client secret", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  client_secret_file: empty.txt"}, []string{"application.client_secret_file", "is empty"}},
		{"a client secret of two lines", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  client_secret_file: lines.txt"}, []string{"application.client_secret_file", "more than one line"}},
		{"a client secret in UTF-16", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  client_secret_file: utf16.txt"}, []string{"application.client_secret_file", "is not plain text; save it as UTF-8"}},
		{"a byte order mark within a client secret", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  client_secret_file: bom.txt"}, []string{"application.client_secret_file", "is not plain text; save it as UTF-8"}},
		{"a huge client secret", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  client_secret_file: large.txt"}, []string{"application.client_secret_file", "more than 4096 bytes"}},
		{"a certificate without its key", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  certificate_file: ca.pem"}, []string{"application.key_file"}},
		{"a certificate with a wrong key", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  certificate_file: ca.pem\n  key_file: pass.txt"}, []string{"application.certificate_file", "no private key"}},
		{"a key that is none", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  key_file: pass.txt"}, []string{"application.key_file", "none in PEM form"}},
		{"a method without its key", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  auth_method: private_key_jwt"}, []string{"application.auth_method", "application.key_file"}},
		{"an unknown authentication method", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  auth_method: magic"}, []string{"application.auth_method", "magic"}},
		{"a port that is none", []string{"client_id: fdsdemo", "client_id: fdsdemo\n  redirect_ports: [70000]"}, []string{"application.redirect_ports", "70000"}},
		{"an unknown store", []string{"store: file", "store: paper"}, []string{"tokens.store", "paper"}},
		{"a missing passphrase", []string{"pass.txt", "none.txt"}, []string{"tokens.passphrase_file", "none.txt"}},
		{"a folder of grants that is a file", []string{"grants/", "file"}, []string{"tokens.folder"}},
		{"missing certificates", []string{"owners/", "nobody/"}, []string{"push.certificates", "nobody"}},
		{"certificates that are a file", []string{"owners/", "file"}, []string{"push.certificates", "file"}},
		{"a missing password of certificates", []string{"owners/", "owners/\n  certificate_password_file: none.txt"}, []string{"push.certificate_password_file", "none.txt"}},
		{"a topic above the root", []string{"owners/", "owners/\n  topics: [/x]"}, []string{"push.topics"}},
		{"a topic with the root", []string{"owners/", "owners/\n  topics: ['fds/v2/#']"}, []string{"push.topics", `topics are below fds/v2/<subscription_id>/ already; write "#" or "devices/+/events"`}},
		{"a duration that is none", []string{"owners/", "owners/\n  session_expiry: 1 day"}, []string{":14: ", "24h"}},
		{"gaps that are neither on nor off", []string{"owners/", "owners/\n  gaps: maybe"}, []string{":14: ", "needed is true or false"}},
		{"a topic of events that is none", []string{"  ca_file:", "  dialect: {event_topic: 'a/#'}\n  ca_file:"}, []string{`provider.dialect.event_topic is "a/#"`}},
		{"a session that is too short", []string{"owners/", "owners/\n  session_expiry: 10ms"}, []string{"push.session_expiry is 10ms; it is at least 1s"}},
		{"a session of no time", []string{"owners/", "owners/\n  session_expiry: 0s"}, []string{"push.session_expiry is 0s"}},
		{"a proxy of another kind", []string{"owners/", "owners/\n  proxy: ftp://me:s3cret@proxy"}, []string{"push.proxy cannot be used: its scheme must be http, https, socks5 or socks5h"}},
		{"an empty application protocol", []string{"owners/", "owners/\n  alpn: ['']"}, []string{"push.alpn holds a name of 0 bytes"}},
		{"packets of no size", []string{"owners/", "owners/\n  max_packet_size: 10"}, []string{"push.max_packet_size is 10"}},
		{"an unknown key of the dialect", []string{"  ca_file:", "  dialect: {tag: x}\n  ca_file:"}, []string{`:5: unknown key "provider.dialect.tag"`}},
		{"an unknown key of paging", []string{"  ca_file:", "  dialect:\n    paging: {pages: 1}\n  ca_file:"}, []string{`:6: unknown key "provider.dialect.paging.pages"`}},
		{"a text for a page", []string{"  ca_file:", "  dialect:\n    paging: {first_page: one}\n  ca_file:"}, []string{":6: ", "needed is a number"}},
		{"pages by number and by cursor", []string{"  ca_file:", "  dialect:\n    paging: {page_parameter: p, cursor_parameter: c, cursor_member: next, size: 5}\n  ca_file:"},
			[]string{"provider.dialect.paging.cursor_parameter is set beside another way to page (see provider.dialect.paging.page_parameter)", ": provider.dialect.paging.size_parameter goes together with a positive size"}},
		{"a cursor that is nowhere", []string{"  ca_file:", "  dialect:\n    paging: {cursor_parameter: c}\n  ca_file:"}, []string{"provider.dialect.paging.cursor_member goes together with the cursor's parameter (see provider.dialect.paging.cursor_parameter)"}},
		{"a first page without pages", []string{"  ca_file:", "  dialect:\n    paging: {first_page: 1}\n  ca_file:"}, []string{"provider.dialect.paging.first_page needs a parameter for the page, and is not negative (see provider.dialect.paging.page_parameter)"}},
		{"the parameter of the IDs", []string{"  ca_file:", "  dialect: {language_parameter: ids}\n  ca_file:"}, []string{`: provider.dialect.language_parameter is "ids"`}},
		{"one parameter for two of paging", []string{"  ca_file:", "  dialect: {to_parameter: p, language_parameter: p, paging: {size_parameter: p, size: 5}}\n  ca_file:"},
			[]string{`: provider.dialect.language_parameter is "p", which means something else already (see provider.dialect.to_parameter)`, `provider.dialect.paging.size_parameter is "p"`}},
		{"a cursor beside no list", []string{"  ca_file:", "  dialect:\n    paging: {cursor_parameter: c, cursor_member: next}\n  ca_file:"}, []string{`: provider.dialect.list_member is "", beside the member`}},
		{"one parameter for two", []string{"  ca_file:", "  dialect: {from_parameter: t, to_parameter: t}\n  ca_file:"}, []string{`provider.dialect.to_parameter is "t", which means something else already (see provider.dialect.from_parameter)`}},
		{"an unknown key of poll", []string{"tokens:\n", "poll: {every: 30s}\ntokens:\n"}, []string{`:8: unknown key "poll.every"`}},
		{"an interval without a unit", []string{"tokens:\n", "poll: {interval: 30}\ntokens:\n"}, []string{":8: poll.interval is of the wrong kind; needed is a duration"}},
		{"an interval that is too short", []string{"  broker_url: " + s.box.BrokerURL() + "\n", "", "tokens:\n", "poll: {interval: 10ms}\ntokens:\n"}, []string{"poll.interval is 10ms; it must be at least 1s"}},
		{"a poll of nothing", []string{"  broker_url: " + s.box.BrokerURL() + "\n", "", "  api_url: " + s.box.APIURL() + "\n", "", "tokens:\n", "poll: {interval: 30s}\ntokens:\n"}, []string{"poll.interval is set, and nothing to read from (see provider.api_url)"}},
		{"a margin of more than a month", []string{"  broker_url: " + s.box.BrokerURL() + "\n", "", "tokens:\n", "poll: {interval: 30s, margin: 800h}\ntokens:\n"}, []string{"poll.margin is 800h0m0s"}},
		{"a state folder that is a file", []string{"state/", "file"}, []string{"push.state_folder"}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			s.t = t
			s.configure(c.replace...)
			s.run("owners").expect(statusUsage).faults(c.says...)
		})
	}
	s.t = t
}

func TestWhatAnOutageCostsIsASetting(t *testing.T) {
	s := newSetup(t)
	for text, want := range map[string][3]bool{ // Off, TrustSession, KeepWithoutGrant
		"": {}, "gaps: on": {}, "gaps: off": {true}, "gaps: false": {true}, "trust_session: true": {false, true}, "keep_without_grant: true": {false, false, true},
	} {
		s.configure("owners/", "owners/\n  "+text)
		c, err := loadConfiguration(t.Context(), s.config, slog.Default(), nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg := c.client
		if got := [3]bool{cfg.Gaps.Off, cfg.Gaps.TrustSession, cfg.KeepWithoutGrant}; got != want {
			t.Errorf("%s is taken as %v, want %v", text, got, want)
		}
	}
	s.dialect("{subscription_member: a.b, subscription_parameter: p, kind_member: k, event_kind: e, status_kind: s, sequence_member: n, event_topic: 'e/{c}', status_topic: 's/{d}'}")
	c, err := loadConfiguration(t.Context(), s.config, slog.Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := c.client.Provider.Dialect; d.SubscriptionMember != "a.b" || d.SubscriptionParameter != "p" || d.KindMember != "k" || d.EventKind != "e" || d.StatusKind != "s" || d.SequenceMember != "n" || d.EventTopic != "e/{c}" || d.StatusTopic != "s/{d}" {
		t.Errorf("the dialect is %+v", d)
	}
}

func TestSeveralFaultsAreAllNamed(t *testing.T) {
	s := newSetup(t)
	s.configure("ca_file: ca.pem", "ca_file: none.pem", "owners/", "nobody/", "client_id: fdsdemo", `client_id: ""`)
	s.run("owners").expect(statusUsage).faults("fdsdemo.yaml:5: provider.ca_file", "fdsdemo.yaml:13: push.certificates", "fdsdemo.yaml:7: application.client_id")
}

func TestEveryCommandChecksTheWholeConfiguration(t *testing.T) {
	s := newSetup(t)
	s.configure("ca_file: ca.pem", "ca_file: ca.pem\n  typo: 1")
	for _, args := range [][]string{{"login", "--no-browser"}, {"logout", north.Spelling}, {"owners"}, {"owners", "--json"}, {"get", "statuses"}, {"spaces"},
		{"tag", "list"}, {"tag", "create", "-"}, {"tag", "get", "x"}, {"tag", "set", "x", "-"}, {"tag", "delete", "x"}, {"watch"}} {
		s.run(args...).expect(statusUsage).says(`:6: unknown key "provider.typo"`)
	}
}

func TestAWrongPassphraseIsAFaultOfTheConfiguration(t *testing.T) {
	s := newSetup(t)
	s.write("pass.txt", "another\n")
	s.run("owners").expect(statusUsage).faults("fdsdemo.yaml:11: ", "tokens.passphrase_file")
	s.script("pass", "echo another")
	s.configure("passphrase_file: pass.txt", "passphrase_command: [./pass]")
	s.run("owners").expect(statusUsage).faults("fdsdemo.yaml:11: ", "tokens.passphrase_command")
}

func TestTheExampleOfTheContractIsTaken(t *testing.T) {
	s := newSetup(t)
	s.write("secret.txt", "secret")
	s.write("p12.txt", "password\n")
	s.write("fdsdemo.yaml", strings.NewReplacer("ISSUER", s.box.Issuer(), "API", s.box.APIURL(), "BROKER", s.box.BrokerURL()).Replace(`
provider:
  issuer: ISSUER        # endpoints are discovered; authorization_endpoint, token_endpoint, ... override
  authorization_endpoint: ISSUER/a
  token_endpoint: ISSUER/t
  revocation_endpoint: ISSUER/r
  jwks_uri: ISSUER/k
  api_url: API            # /fds/v2/ is appended
  broker_url: BROKER
  ca_file: ca.pem                         # added to the system's roots, for all three
  tls: "1.2+"                             # or "1.2" to pin
application:
  name: fdsdemo                           # also the keyring's service name
  client_id: fleet-app
  client_secret_file: secret.txt          # or certificate_file and key_file (RFC 8705); neither: a public client
  auth_method: ""                         # none, client_secret_basic, ...
  scopes: [openid, offline_access]
  redirect_path: /callback
  redirect_ports: []                      # empty: any free port
  subscription_claim: subscription_id
tokens:
  store: memory
  folder: grants/                         # for store: file
  passphrase_file: pass.txt               # without it, the folder's key is kept in the keyring
push:
  certificates: owners/                   # <subscription-id>.pem: certificate chain and private key; or .p12
  certificate_password_file: p12.txt      # for .p12
  topics: ["#"]                           # below fds/v2/<subscription-id>/
  session_expiry: 24h
  state_folder: state/                    # positions, open gaps, filters; default: the user's state folder
`))
	s.run("owners").expect(statusDone)
}

func TestAnErrorOfTheConfigurationIsNamedOnce(t *testing.T) {
	s := newSetup(t)
	s.configure("owners/", "owners/\n  session_expiry: -1h")
	if r := s.run("owners").expect(statusUsage); strings.Count(r.err, "session_expiry") != 1 || strings.Contains(r.err, "SessionExpiry") {
		t.Errorf("stderr %s", r.err)
	}
}

func TestTheCommandToTryNextHasTheConfigurationInUse(t *testing.T) {
	s := newSetup(t)
	s.run("get", "statuses").expect(statusSignIn).says("sign in first: fdsdemo login --config " + s.config)
	if r := s.run("owners").expect(statusDone); r.err != "No owner is signed in. Run: fdsdemo login --config "+s.config+"\n" {
		t.Errorf("stderr %q", r.err)
	}
	for path, want := range map[string]string{"a": "a", "a b": "'a b'", "it's": `'it'\''s'`, `C:\x`: `C:\x`} {
		if got := quoted(path); got != want {
			t.Errorf("%s is written %s, want %s", path, got, want)
		}
	}
}
