package fdsclient_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
	"github.com/fds-sdk/fds-go/webhook"
)

// hooked is what a consumer does that has a webhook in place of a broker.
type hooked struct {
	Folder   string // Settings.Folder
	MaxMarks int
	Journal  string // a file, to which each message is appended before its handler returns
}

// serve serves a webhook at the listener that this process has inherited, and keeps grants renewed.
func (h hooked) serve(client *fdsclient.Client, certificate *tls.Certificate) error {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	journal, err := os.OpenFile(h.Journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	receiver, err := client.Webhook(webhook.Settings{
		Audience: webhookAudience, Senders: []string{webhookSender}, Path: "/fds/{subscription_id}", Folder: h.Folder, MaxMarks: h.MaxMarks, HandlerTimeout: time.Minute, // whatever the disk does
		Certificate: func(context.Context) (*tls.Certificate, error) { return certificate, nil },
	}, func(_ context.Context, m delivery.Message) error {
		if _, err := fmt.Fprintf(journal, "%s %s\n", m.Owner.SubscriptionID, m.Payload); err != nil {
			return err
		}
		return journal.Sync()
	})
	if err != nil {
		return err
	}
	for receiver.State().KeysAt.IsZero() { // it would answer 503
		<-time.After(time.Millisecond)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if _, err := client.Owners(ctx); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- client.Run(ctx, nil) }()
	go func() { ended <- receiver.Serve(ctx, listener) }()
	fmt.Println("ready")
	for range cap(ended) {
		if err := <-ended; err != nil {
			return err
		}
	}
	return errors.Join(receiver.Close(), client.Close())
}

// killSize says how much happens.
type killSize struct{ owners, deliveries, kills int }

// sent is a message, and all deliveries of it.
type sent struct {
	owner fds.SubscriptionID
	body  string
}

// killing is a sender in this process, and one receiver after the other in a process that is killed.
// The listener is this process's: who connects while there is no receiver waits for the next one.
type killing struct {
	t        *testing.T
	size     killSize
	rng      *rand.Rand
	sender   *fdstest.Sender
	owners   []fdstest.Owner
	consumer consumer
	listener *os.File
	folder   string
	child    *exec.Cmd
	by       os.Signal     // that it gets
	startup  time.Duration // what the first process took to begin
	changed  chan struct{} // says that something was acknowledged, or began

	run      atomic.Int64 // the process that lives, or lived last, counted from 1
	replayed atomic.Int64 // deliveries that were sent once more after they had been acknowledged

	mu     sync.Mutex // locked while a process dies: no attempt begins meanwhile, and none ends
	inHand map[sent]bool
	acked  []fdstest.Attempt // in the order in which that was seen
	atKill []map[sent]bool   // what was in hand when process n+1 was killed
	seenIn map[sent]int64    // the process whose acknowledgement was seen
}

func newKilling(t *testing.T, size killSize, w fdstest.Webhook, remembers bool) *killing {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a process inherits no listener here")
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FDS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FDS_SEED=%d", seed)
	k := &killing{
		t: t, size: size, rng: rand.New(rand.NewPCG(seed, 0)), folder: t.TempDir(), by: os.Kill, changed: make(chan struct{}, 1),
		inHand: make(map[sent]bool), seenIn: make(map[sent]int64),
	}
	some := make([]fdstest.Owner, size.owners)
	for n := range some {
		some[n].Name = fmt.Sprintf("Owner %d", n)
	}
	p := start(t, fdstest.Options{Owners: some})
	k.owners = p.Owners()

	identity := newIdentity(t)
	k.consumer = consumer{
		Issuer: p.Issuer(), API: p.APIURL(), CA: p.CAPEM(), ClientID: p.PublicApplication().ID, Dialect: p.Dialect(),
		Folder: filepath.Join(k.folder, "grants"), Identity: identity, State: filepath.Join(k.folder, "state"), Webhook: &hooked{MaxMarks: 3 * size.deliveries}, // two of each: files of them come, and none goes
	}
	if remembers {
		k.consumer.Webhook.Folder = filepath.Join(k.folder, "marks")
	}
	issued, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "localhost", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	k.consumer.Certificate, k.consumer.Key = issued.ChainPEM, issued.KeyPEM
	cfg := configure(t, p)
	if cfg.Store, err = tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: k.consumer.Folder, Identity: fds.NewSecret(identity)}); err != nil {
		t.Fatal(err)
	}
	if cfg.State, err = statestore.OpenFolder(k.consumer.State); err != nil {
		t.Fatal(err)
	}
	signIn(t, open(t, cfg), p, k.owners...)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if k.listener, err = listener.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.listener.Close() })
	w.URL, w.Audience = "https://"+listener.Addr().String()+"/fds/{subscription_id}", webhookAudience
	w.NoID = true               // but for what attempts have
	w.Timeout = 2 * time.Minute // a process that dies hangs up
	if k.sender, err = p.SendTo(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return k
}

// begin starts the next process, and returns when it is about to serve.
func (k *killing) begin() {
	k.t.Helper()
	began := time.Now()
	if lines := bufio.NewScanner(k.start()); !lines.Scan() || lines.Text() != "ready" {
		k.t.Fatalf("the receiver has ended, or says %q", lines.Text())
	}
	if k.startup == 0 {
		k.startup = time.Since(began)
	}
}

// start starts the next process.
func (k *killing) start() (out io.Reader) {
	k.t.Helper()
	k.consumer.Webhook.Journal = k.journal(k.run.Add(1))
	task, err := json.Marshal(k.consumer)
	if err != nil {
		k.t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), consumerVariable+"="+string(task))
	child.Stderr = os.Stderr
	child.ExtraFiles = []*os.File{k.listener}
	out, err = child.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.child = child
	k.t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() }) // when the test failed before
	return out
}

func (k *killing) journal(run int64) string {
	return filepath.Join(k.folder, fmt.Sprintf("journal-%d", run))
}

// kill kills the process within some time, while something is in hand; or asks it to end.
func (k *killing) kill(within time.Duration) {
	k.t.Helper()
	<-time.After(time.Duration(k.rng.Int64N(int64(within))))
	k.await(func() bool {
		if len(k.inHand) == 0 {
			return false
		}
		if err := k.child.Process.Signal(k.by); err != nil {
			k.t.Fatal(err)
		}
		if err := k.child.Wait(); k.by == os.Kill && k.child.ProcessState.Exited() || k.by != os.Kill && err != nil {
			k.t.Fatalf("the receiver ended by itself: %v", err)
		}
		k.atKill = append(k.atKill, maps.Clone(k.inHand))
		return true
	})
}

// await waits for a condition of what mu guards.
func (k *killing) await(holds func() bool) {
	k.t.Helper()
	locked := func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return holds()
	}
	for !locked() {
		select {
		case <-k.changed:
		case <-time.After(time.Minute):
			k.t.Fatalf("nothing happens any more: %+v", k.sender.Deliveries())
		}
	}
}

// deliver sends deliveries of one owner in their order, each until it is acknowledged.
func (k *killing) deliver(ctx context.Context, all []fdstest.Attempt) error {
	for _, a := range all {
		pauses := &backoff.ExponentialBackOff{InitialInterval: 5 * time.Millisecond, MaxInterval: 100 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5}
		_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, k.attempt(ctx, a) }, backoff.WithBackOff(pauses))
		if err != nil {
			return err
		}
	}
	return nil
}

// attempt sends a delivery once. Any answer but an acknowledgement ends the test: only a process
// that dies costs an attempt, which loses no time to a Retry-After.
func (k *killing) attempt(ctx context.Context, a fdstest.Attempt) error {
	m := sent{a.Owner.SubscriptionID, string(a.Body)}
	k.mu.Lock()
	k.inHand[m] = true
	k.mu.Unlock()
	reply, err := k.sender.Attempt(ctx, a)
	run := k.run.Load()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.inHand, m)
	select {
	case k.changed <- struct{}{}:
	default:
	}
	if err != nil {
		return err
	}
	if reply.Status != http.StatusOK {
		return backoff.Permanent(fmt.Errorf("%s was answered %d: %s", a.Body, reply.Status, reply.Body))
	}
	k.acked = append(k.acked, a)
	k.seenIn[m] = run
	return nil
}

// replay sends deliveries once more that were acknowledged, as somebody does who has seen them: the
// last ones, and some of all. One that meets the next kill is not answered.
func (k *killing) replay(ctx context.Context, seed uint64) {
	k.mu.Lock()
	all := slices.Clone(k.acked)
	k.mu.Unlock()
	const each = 25
	rng := rand.New(rand.NewPCG(seed, 0))
	some := slices.Clone(all[max(0, len(all)-each):])
	for range min(each, len(all)) {
		some = append(some, all[rng.IntN(len(all))])
	}
	for _, a := range some {
		switch reply, err := k.sender.Attempt(ctx, a); {
		case err != nil:
		case reply.Status != http.StatusOK:
			k.t.Errorf("once more, %s was answered %d: %s", a.Body, reply.Status, reply.Body)
		default:
			k.replayed.Add(1)
		}
	}
}

// all has the sender deliver everything, and the receiver be killed meanwhile. With named each
// delivery has a webhook-id, and else each is an event with an ID, which another owner's has too.
func (k *killing) all(named bool) {
	k.t.Helper()
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(k.t.Context())
	defer cancel()
	k.begin()
	var failed atomic.Int64
	for i, o := range k.owners {
		var all []fdstest.Attempt
		for n := i; n < k.size.deliveries; n += len(k.owners) {
			a := fdstest.Attempt{Owner: o}
			if number := n / len(k.owners); named {
				a.Body, a.ID = fmt.Appendf(nil, `{"n":%d}`, number), fmt.Sprintf("msg_%d", number)
			} else {
				a.Body = fmt.Appendf(nil, `{"message_id":"m-%d","generic":{}}`, number)
			}
			all = append(all, a)
		}
		work.Go(func() {
			if err := k.deliver(ctx, all); err != nil && ctx.Err() == nil {
				k.t.Error(err)
				failed.Add(1)
			}
		})
	}
	var when []int
	for range k.size.kills {
		when = append(when, 1+k.rng.IntN(k.size.deliveries*8/10)) // the rest flows in peace
	}
	slices.Sort(when)
	for n, acknowledged := range when {
		k.await(func() bool { return len(k.acked) >= acknowledged })
		k.kill(10 * time.Millisecond)
		if n%4 == 3 && k.by == os.Kill { // while it begins, too
			k.start()
			k.kill(k.startup)
		}
		k.begin()
		if seed := k.rng.Uint64(); k.by == os.Kill {
			work.Go(func() { k.replay(ctx, seed) })
		}
	}
	k.await(func() bool { return len(k.acked) == k.size.deliveries || failed.Load() > 0 })
	if k.by == os.Kill {
		k.replay(ctx, k.rng.Uint64())
	}
	if d := k.sender.Deliveries(); len(d.Answers) > 2 {
		k.t.Errorf("answers by status: %v", d.Answers)
	}
}

// aftermath is what was handled wrongly, and how far the kills met work.
type aftermath struct {
	lost     []string // not handled before it was acknowledged
	beyond   []string // handled once more, and was not in hand when the process was killed that had handled it
	after    []string // handled by a process after another one's acknowledgement of it was seen
	inHand   int      // attempts under way at kills
	handled  int      // of which the handler had returned or was about to
	met      int      // kills that met such
	repeated int      // messages that were handled once more
}

// verdict reads what the processes have handled.
func (k *killing) verdict() (v aftermath) {
	k.t.Helper()
	in := make(map[sent][]int64) // the processes that have handled it
	for run := int64(1); run <= k.run.Load(); run++ {
		journal, err := os.ReadFile(k.journal(run))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.t.Fatal(err)
		}
		lines := bytes.Split(journal, []byte("\n"))
		unanswered := 0
		for _, line := range lines[:len(lines)-1] { // behind the last end of a line is what a kill cut off
			owner, body, _ := strings.Cut(string(line), " ")
			id, err := fds.ParseSubscriptionID(owner)
			if err != nil {
				k.t.Fatalf("process %d has handled %q", run, line)
			}
			m := sent{id, body}
			if in[m] = append(in[m], run); run <= int64(len(k.atKill)) && k.atKill[run-1][m] {
				unanswered++
			}
		}
		if v.handled += unanswered; unanswered > 0 {
			v.met++
		}
	}
	for _, atKill := range k.atKill {
		v.inHand += len(atKill)
	}
	for m, runs := range in {
		told := fmt.Sprintf("%s %s: handled by %d, acknowledged by %d", m.owner, m.body, runs, k.seenIn[m])
		for n, run := range runs[1:] {
			v.repeated++
			if before := runs[n]; before == run || !k.atKill[before-1][m] {
				v.beyond = append(v.beyond, told)
			}
			if run > k.seenIn[m] {
				v.after = append(v.after, told)
			}
		}
	}
	for m, run := range k.seenIn {
		if len(in[m]) == 0 || in[m][0] > run {
			v.lost = append(v.lost, fmt.Sprintf("%s %s: handled by %d, acknowledged by %d", m.owner, m.body, in[m], run))
		}
	}
	d := k.sender.Deliveries()
	k.t.Logf("%d deliveries to %d processes, %d attempts, answers %v: %d were under way at kills, of which %d were handled (at %d kills); %d were handled again; %d were replayed",
		len(k.seenIn), k.run.Load(), d.Attempts, d.Answers, v.inHand, v.handled, v.met, v.repeated, k.replayed.Load())
	return v
}

func TestAReceiverThatIsKilledIsHandedAgainWhatItHadInHandAndNothingElse(t *testing.T) {
	t.Parallel() // it waits for other processes
	for name, named := range map[string]bool{"told by webhook-id": true, "told by events' IDs": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKilling(t, killSize{owners: 50, deliveries: 10_000, kills: 20}, fdstest.Webhook{HTTP1: !named}, true)
			k.all(named)
			v := k.verdict()
			for what, faults := range map[string][]string{
				"are lost":                        v.lost,
				"came again and were not in hand": v.beyond,
				"came again once acknowledged":    v.after,
			} {
				if len(faults) > 0 {
					t.Errorf("%d messages %s:\n%s", len(faults), what, strings.Join(faults[:min(len(faults), 10)], "\n"))
				}
			}
			if got := len(k.seenIn); got != k.size.deliveries {
				t.Errorf("%d deliveries were acknowledged", got)
			}
			if v.met < k.size.kills/4 || v.repeated == 0 || k.replayed.Load() < int64(k.size.kills) {
				t.Error("the kills met too little, which proves nothing")
			}
		})
	}
}

// TestAReceiverWithoutAFolderIsHandedAgainWhatItHasAcknowledged shows that the test above can fail.
func TestAReceiverWithoutAFolderIsHandedAgainWhatItHasAcknowledged(t *testing.T) {
	t.Parallel()
	k := newKilling(t, killSize{owners: 10, deliveries: 500, kills: 2}, fdstest.Webhook{}, false)
	k.all(true)
	if v := k.verdict(); len(v.beyond) == 0 || len(v.after) == 0 || len(v.lost) > 0 {
		t.Errorf("%d came again that were not in hand, %d once acknowledged, %d are lost", len(v.beyond), len(v.after), len(v.lost))
	}
}

// TestAReceiverThatIsAskedToEndAnswersWhatItHasInHand, so that nothing comes again although it
// remembers nothing.
func TestAReceiverThatIsAskedToEndAnswersWhatItHasInHand(t *testing.T) {
	t.Parallel()
	for name, http1 := range map[string]bool{"HTTP/2": false, "HTTP/1.1": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKilling(t, killSize{owners: 20, deliveries: 1000, kills: 3}, fdstest.Webhook{HTTP1: http1}, false)
			k.by = syscall.SIGTERM
			k.all(true)
			if v := k.verdict(); v.repeated > 0 || len(v.lost) > 0 || v.handled == 0 {
				t.Errorf("%d messages came again, %d are lost; %d were in hand", v.repeated, len(v.lost), v.handled)
			}
		})
	}
}
