package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

var program string // this one, built

func TestMain(m *testing.M) {
	os.Exit(func() int {
		folder, err := os.MkdirTemp("", "exactlyonce")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		program = filepath.Join(folder, "exactlyonce.exe")
		if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

const (
	owners, devices = 20, 3 // of each owner
	eachLife        = 150   // events that are published to one process
)

// site is a provider in this process, and one process of the program after another.
type site struct {
	t        *testing.T
	rng      *rand.Rand
	provider *fdstest.Provider
	owners   []fdstest.Owner
	folder   string
	args     []string
	env      []string
	db       *sql.DB // what the program has written, read beside it
	child    *exec.Cmd
	log      bytes.Buffer // of all processes
	logMu    sync.Mutex
	kills    int
	started  int // where in log the last process begins

	published int               // events, each with an ID of its own
	counts    map[string]int    // of them, by owner and device
	newest    map[string]string // state, by owner and device
	bad       int               // messages that are for the dead letters
	twice     int               // events that the provider published once more
}

// newSite returns one whose program finds a database that schema has made.
func newSite(t *testing.T, schema string, args ...string) *site {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FDS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FDS_SEED=%d", seed)
	s := &site{t: t, rng: rand.New(rand.NewPCG(seed, 0)), folder: t.TempDir(), counts: map[string]int{}, newest: map[string]string{}}
	some := make([]fdstest.Owner, owners)
	for n := range some {
		some[n].Name = fmt.Sprintf("Owner %d", n)
	}
	s.provider = fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Owners: some})
	s.owners = s.provider.Owners()
	for _, o := range s.owners {
		for n := range devices {
			s.must(s.provider.AddDevice(o, fmt.Appendf(nil, `{"device_id":"d-%d"}`, n)))
		}
	}
	identity, err := age.GenerateX25519Identity()
	s.must(err)
	s.signIn(identity.String())
	dialect, err := json.Marshal(s.provider.Dialect())
	s.must(err)
	s.must(os.WriteFile(s.file("ca.pem"), s.provider.CAPEM(), 0o600))
	s.args = append([]string{"-issuer", s.provider.Issuer(), "-broker", s.provider.BrokerURL(),
		"-ca", "ca.pem", "-client-id", s.provider.PublicApplication().ID, "-dialect", string(dialect)}, args...)
	s.env = []string{"HOME=" + s.folder, "GRANTS_IDENTITY=" + identity.String()}
	s.look()
	t.Cleanup(func() { s.must(s.db.Close()) })
	_, err = s.db.ExecContext(t.Context(), schema)
	s.must(err)
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) file(name string) string { return filepath.Join(s.folder, name) }

// signIn signs all owners in, and writes their certificates.
func (s *site) signIn(identity string) {
	s.t.Helper()
	ctx := s.t.Context()
	store, err := tokenstore.OpenFolder(ctx, tokenstore.FolderConfig{Path: s.file("grants"), Identity: fds.NewSecret(identity)})
	s.must(err)
	client, err := fdsclient.New(fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: s.provider.Issuer(), Roots: s.provider.Roots, Dialect: s.provider.Dialect()},
		Application: fdsclient.Application{ClientID: s.provider.PublicApplication().ID},
		Store:       store,
		State:       &statestore.Memory{},
	})
	s.must(err)
	defer client.Close()
	_, err = client.SignIn(ctx, fdsclient.SignInOptions{
		ShowURL:     func(string) {},
		OpenBrowser: func(ctx context.Context, url string) error { return s.provider.Approve(ctx, url, s.owners...) },
	})
	s.must(err)
	s.must(os.Mkdir(s.file("owners"), 0o700))
	for _, o := range s.owners {
		certificate, err := s.provider.OwnerCertificate(o)
		s.must(err)
		s.must(os.WriteFile(s.file("owners/"+o.SubscriptionID.String()+".pem"), append(certificate.ChainPEM, certificate.KeyPEM...), 0o600))
	}
}

// Write takes what processes print.
func (s *site) Write(text []byte) (int, error) {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return s.log.Write(text)
}

func (s *site) printed() string {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return s.log.String()
}

func (s *site) start() {
	s.t.Helper()
	s.child = exec.Command(program, s.args...)
	s.child.Dir, s.child.Env = s.folder, s.env
	s.child.Stdout, s.child.Stderr = s, s
	s.started = len(s.printed())
	s.must(s.child.Start())
	child := s.child
	s.t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() }) // when the test failed before
}

// connected waits until the process has subscribed for all owners.
func (s *site) connected() {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for strings.Count(s.printed()[s.started:], "push: connected") < owners {
		if time.Now().After(deadline) {
			s.t.Fatalf("not all are connected:\n%s", s.printed())
		}
		<-time.After(time.Millisecond)
	}
}

// look opens the database.
func (s *site) look() {
	s.t.Helper()
	db, err := sql.Open("sqlite", s.file("messages.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	s.must(err)
	s.db = db
}

// kill kills the process within some time. Nobody else has the database open then: what the process
// has written of a transaction, and not yet on disk, is there when it is opened again.
func (s *site) kill(within time.Duration) {
	s.t.Helper()
	s.must(s.db.Close())
	defer s.look()
	<-time.After(time.Duration(s.rng.Int64N(int64(within))))
	s.must(s.child.Process.Kill())
	s.kills++
	if err := s.child.Wait(); err == nil || s.child.ProcessState.Exited() {
		s.t.Fatalf("it ended by itself: %v\n%s", err, s.printed())
	}
}

// number is the one that a query finds.
func (s *site) number(query string) (n int) {
	s.t.Helper()
	s.must(s.db.QueryRowContext(s.t.Context(), query).Scan(&n))
	return n
}

const (
	handled    = `SELECT coalesce(sum(times), 0) FROM handled`
	backfilled = `SELECT count(*) FROM handled WHERE first_by = 'backfill'`
	repeated   = `SELECT coalesce(sum(times - 1), 0) FROM handled JOIN events USING (owner, key) WHERE last_by = 'push' AND CAST(payload AS TEXT) NOT LIKE '%"published":2%'`
)

// await waits until a number that a query finds is as large.
func (s *site) await(query string, n int) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for s.number(query) < n {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is %d, and not %d:\n%s", query, s.number(query), n, s.printed())
		}
		<-time.After(time.Millisecond)
	}
}

// publish publishes events, among them some twice, and with others states, and what nobody can use.
func (s *site) publish(events int, others bool) {
	s.t.Helper()
	for range events {
		o, n := s.owners[s.published%owners], s.published
		device := fmt.Sprintf("d-%d", s.rng.IntN(devices))
		of := o.SubscriptionID.String() + " " + device
		now := time.Now().UTC().Format(time.RFC3339Nano)
		times := 1 + s.rng.IntN(10)/9
		event := fmt.Appendf(nil, `{"message_id":"m-%d","subscription_id":%q,"generic":{"device_id":%q,"date_time":%q,"published":%d}}`, n, o.Spelling, device, now, times)
		for range times {
			s.must(s.provider.AddEvent(o, event))
		}
		s.published++
		s.twice += times - 1
		s.counts[of]++
		if !others {
			continue
		}
		if s.rng.IntN(5) == 0 {
			s.newest[of] = fmt.Sprintf(`{"device_id":%q,"subscription_id":%q,"generic":{"date_time":%q,"level":%d}}`, device, o.Spelling, now, n)
			s.must(s.provider.SetStatus(o, []byte(s.newest[of])))
		}
		if s.rng.IntN(50) == 0 {
			s.must(s.provider.AddEvent(o, fmt.Appendf(nil, `{"message_id":"bad-%d","generic":{"date_time":%q}}`, n, now)))              // of nothing
			s.must(s.provider.AddEvent(o, fmt.Appendf(nil, `{"generic":{"device_id":%q,"date_time":%q,"number":%d}}`, device, now, n))) // without a key
			s.must(s.provider.Publish(s.t.Context(), o, []string{"odd"}, fmt.Appendf(nil, "no JSON: %d", n), 1, false))
			s.bad += 3
		}
	}
}

// life is that of one process, which is killed while there is work.
func (s *site) life(n int) {
	s.t.Helper()
	if n%4 == 3 { // while it begins, too
		s.start()
		s.kill(200 * time.Millisecond)
	}
	s.start()
	if n == 0 || s.rng.IntN(3) > 0 { // before the first time the broker keeps nothing for anybody
		s.connected()
	}
	before := s.number(handled)
	s.publish(eachLife, true)
	s.await(handled, before+1+s.rng.IntN(eachLife))
	s.kill(3 * time.Millisecond)
}

// killed has the program killed, and then come to the end of its work. The processes of the first
// half of kills have the broker alone, so that what comes again was not acknowledged; they go on
// until that was so after some kills. The others read in the Web API what an outage may have lost.
func (s *site) killed(kills, some int) {
	s.t.Helper()
	met, again := 0, 0
	for n := 0; n < kills/2 || met < some; n++ {
		s.life(n)
		if now := s.number(repeated); now > again {
			again = now
			met++
		}
		if n == 10*kills {
			s.t.Fatalf("of %d kills %d met something that was handled and not acknowledged", n, met)
		}
	}
	s.args = append(s.args, "-api", s.provider.APIURL())
	for n := range kills / 2 {
		s.life(n + 1)
		if n%3 == 0 { // its queue at the broker is full while it is away: the rest is in the Web API alone
			off := s.provider.Inject(fdstest.SmallQueue(1))
			s.publish(eachLife, false)
			off()
		}
	}
	s.start()
	s.await(`SELECT count(*) FROM (SELECT DISTINCT payload FROM events)`, s.published)
	s.await(`SELECT count(*) FROM dead_letters`, s.bad)
	for of, state := range s.newest {
		owner, device, _ := strings.Cut(of, " ")
		s.await(fmt.Sprintf(`SELECT count(*) FROM states WHERE owner = '%s' AND device = '%s' AND payload = CAST('%s' AS BLOB)`, owner, device, state), 1)
	}
	s.must(s.child.Process.Signal(syscall.SIGTERM))
	if err := s.child.Wait(); err != nil {
		s.t.Fatalf("%v:\n%s", err, s.printed())
	}
	s.t.Logf("%d kills; %d events, %d of them published twice, were handled %d times, %d first by backfill; %d dead letters", s.kills, s.published, s.twice, s.number(handled), s.number(backfilled), s.bad)
	s.t.Logf("with the broker alone %d kills met what was handled and not acknowledged: %d events", met, again)
}

// exact checks that everything that was published is there once.
func (s *site) exact() {
	s.t.Helper()
	for query, want := range map[string]int{
		`SELECT count(*) FROM events`:  s.published,
		`SELECT count(*) FROM handled`: s.published,
		`SELECT count(*) FROM counts`:  len(s.counts),
		doubled:                        0,
	} {
		if n := s.number(query); n != want {
			s.t.Errorf("%s is %d, want %d", query, n, want)
		}
	}
	for of, want := range s.counts {
		owner, device, _ := strings.Cut(of, " ")
		if n := s.number(fmt.Sprintf(`SELECT events FROM counts WHERE owner = '%s' AND about = '%s'`, owner, device)); n != want {
			s.t.Errorf("%s has had %d events, and %d are counted", of, want, n)
		}
	}
}

// doubled are the events that are there more than once.
const doubled = `SELECT count(*) FROM (SELECT 1 FROM events GROUP BY owner, payload HAVING count(*) > 1)`

func TestEveryMessageIsThereExactlyOnceHoweverOftenTheProgramIsKilled(t *testing.T) {
	for name, args := range map[string][]string{"one at a time": nil, "in batches": {"-batch", "50"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for other processes
			s := newSite(t, schema, args...)
			s.killed(20, 3)
			if s.number(backfilled) == 0 {
				t.Error("nothing came by backfill")
			}
			s.exact()
		})
	}
}

func TestWithoutTheUniqueIndexEventsAreThereTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t, strings.Replace(schema, "UNIQUE INDEX", "INDEX", 1))
	s.killed(6, 0)
	if n := s.number(doubled); n <= s.twice {
		t.Errorf("%d events are there twice, of which the provider has published %d twice: the kills show nothing", n, s.twice)
	} else {
		t.Logf("%d events are there twice, of which the provider has published %d twice", n, s.twice)
	}
}
