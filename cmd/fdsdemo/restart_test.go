package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startBox starts a provider with a folder, whose devices are quick.
func startBox(t *testing.T, folder string, args ...string) *process {
	t.Helper()
	box := start(t, invocation(t, append([]string{"provider", "--dir", folder, "--every", "5ms"}, args...)...))
	box.await(box.out, "ready")
	return box
}

// event is what the test reads of an event, pushed or listed.
type event struct {
	MessageID string `json:"message_id"`
	Generic   struct {
		DateTime time.Time `json:"date_time"`
		DeviceID string    `json:"device_id"`
	} `json:"generic"`
}

// watched returns the IDs of the events that a watch has printed so far.
func watched(t *testing.T, watch *process) map[string]bool {
	t.Helper()
	seen := make(map[string]bool)
	for line := range strings.Lines(watch.out.String()) {
		var m struct {
			Payload event `json:"payload"`
		}
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &m) == nil && m.Payload.MessageID != "" {
			seen[m.Payload.MessageID] = true
		}
	}
	return seen
}

func TestAWatchSeesEveryEventThroughTheKillOfItsProvider(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "box")
	box := startBox(t, folder)
	with := func(args ...string) *process {
		return start(t, invocation(t, append([]string{"--config", filepath.Join(folder, "fdsdemo.yaml")}, args...)...))
	}
	login := with("login", "--no-browser")
	approveByHand(t, browser(t, filepath.Join(folder, "ca.pem")), login.signInURL())
	id := login.wait().expect(statusDone).lines()[0]
	watch := with("watch", "--owner", id, "--json")
	watch.await(watch.out, `"message_id"`)
	began := time.Now()
	missing := func() (published, after, unseen int) {
		t.Helper()
		listed := with("get", "events", "--owner", id, "--json").wait().expect(statusDone).lines()
		seen := watched(t, watch)
		for _, line := range listed {
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Generic.DateTime.After(began) && e.Generic.DeviceID != "" { // those about spaces are not pushed
				published++
				if !seen[e.MessageID] {
					unseen++
				}
			}
		}
		return published, len(seen), unseen
	}
	lines := func() int { return strings.Count(watch.out.String(), `"message_id"`) }
	for range 2 {
		watch.awaitNth(watch.out, `"message_id"`, lines()+10)
		if err := box.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-box.ended
		box = startBox(t, folder)
		watch.awaitNth(watch.out, `"message_id"`, lines()+10)
	}
	box.signal(syscall.SIGTERM) // and now it ends in good order
	box.wait().expect(statusDone)
	box = startBox(t, folder, "--every", "1h")
	for end := time.Now().Add(deadline); ; {
		published, seen, unseen := missing()
		if unseen == 0 {
			t.Logf("%d events since the beginning, %d seen", published, seen)
			if published < 6 {
				t.Errorf("only %d events were published", published)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d events are not seen; stderr:\n%s", unseen, published, watch.err)
		}
	}
	box.signal(syscall.SIGTERM)
	box.wait().expect(statusDone)
	watch.end()
}

func TestAPortOfTheFolderThatIsTakenIsSaid(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "box")
	box := startBox(t, folder)
	again := start(t, invocation(t, "provider", "--dir", folder)).wait().expect(statusFailed)
	again.says("another provider's that runs", "choose another folder")
	config, err := os.ReadFile(filepath.Join(folder, "fdsdemo.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	box.signal(syscall.SIGTERM)
	box.wait().expect(statusDone)
	_, rest, _ := strings.Cut(string(config), "api_url: https://")
	address, _, _ := strings.Cut(rest, "\n")
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start(t, invocation(t, "provider", "--dir", folder)).wait().expect(statusFailed).says("the Web API", address, "--port-base")
	if now, err := os.ReadFile(filepath.Join(folder, "fdsdemo.yaml")); err != nil || string(now) != string(config) {
		t.Errorf("the configuration has changed: %v", err)
	}
	base := freePorts(t, 3)
	moved := startBox(t, folder, "--port-base", strconv.Itoa(base))
	now, err := os.ReadFile(filepath.Join(folder, "fdsdemo.yaml"))
	if want := fmt.Sprintf("issuer: https://127.0.0.1:%d", base); err != nil || !strings.Contains(string(now), want) || !strings.Contains(string(now), fmt.Sprintf("mqtts://127.0.0.1:%d\n", base+2)) {
		t.Errorf("the configuration lacks %q: %v\n%s", want, err, now)
	}
	moved.signal(syscall.SIGTERM)
	moved.wait().expect(statusDone)
}

// freePorts returns the first of so many ports in a row on which nothing listens.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base, free := first.Addr().(*net.TCPAddr).Port, true
		listeners := []net.Listener{first}
		for i := 1; i < n && free; i++ {
			l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(base+i)))
			if free = err == nil; free {
				listeners = append(listeners, l)
			}
		}
		for _, l := range listeners {
			l.Close()
		}
		if free {
			return base
		}
	}
	t.Fatalf("no %d ports in a row are free", n)
	return 0
}

func TestASecretAndRedirectsAreSettingsOfTheProvider(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "box")
	box := startBox(t, folder, "--confidential", "--redirect-uri", "https://app.example.com/callback", "--redirect-uri", "https://localhost:8443/callback")
	with := func(args ...string) *process {
		return start(t, invocation(t, append([]string{"--config", filepath.Join(folder, "fdsdemo.yaml")}, args...)...))
	}
	login := with("login", "--no-browser")
	approveByHand(t, browser(t, filepath.Join(folder, "ca.pem")), login.signInURL())
	id := login.wait().expect(statusDone).lines()[0]
	secret, err := os.ReadFile(filepath.Join(folder, "client_secret.txt"))
	if err != nil || len(strings.TrimSpace(string(secret))) < 32 {
		t.Errorf("the secret is %d bytes long, %v", len(secret), err)
	}
	box.signal(syscall.SIGTERM)
	box.wait().expect(statusDone)
	again := startBox(t, folder, "--confidential")
	if now, err := os.ReadFile(filepath.Join(folder, "client_secret.txt")); err != nil || string(now) != string(secret) {
		t.Errorf("another start has another secret, %v", err)
	}
	with("get", "spaces", "--owner", id).wait().expect(statusDone)
	kept, err := os.ReadFile(filepath.Join(folder, "provider", "provider.json"))
	if n := strings.Count(string(kept), "https://localhost:8443/callback"); err != nil || n != 2 {
		t.Errorf("%d applications have the redirect URI, %v", n, err)
	}
	again.signal(syscall.SIGTERM)
	again.wait().expect(statusDone)

	for args, want := range map[string]string{
		"--redirect-uri http://app.example.com/": "--redirect-uri",
		"--port-base 65535":                      "--port-base",
		"--confidential":                         "--dir",
		"--every 0s":                             "--every",
	} {
		start(t, invocation(t, append([]string{"provider"}, strings.Fields(args)...)...)).wait().expect(statusUsage).says(want)
	}
}
