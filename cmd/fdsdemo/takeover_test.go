package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestTheFirstUseOfAnOwnerFromAStateFolderNeedsLeave(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	other := s.watch("--json") // with another state folder, as on another machine
	s.configure("state/", "second/")
	for _, args := range [][]string{{"watch"}, {"watch", "--json", "--owner", north.Spelling[:8]}} {
		start(t, s.bare(args...)).wait().expect(statusUsage).says("disconnects whoever is connected elsewhere as "+north.Spelling, "add --take-over", "watch --poll --config "+s.config)
	}
	if n := len(s.box.Connections()); n != 1 {
		t.Errorf("%d connections; the other one was taken over", n)
	}
	p := start(t, s.bare("watch", "--take-over", "--json"))
	p.await(p.err, "Connected: 1 owner.")
	other.wait().expect(statusFailed).says("take")
	s.publish(s.north, `"here"`, "a")
	p.await(p.out, `"here"`)
	p.end()

	// From then on nothing is asked.
	for _, args := range [][]string{{"watch"}, {"watch", "--owner", north.Spelling}} {
		p := start(t, s.bare(args...))
		p.await(p.err, "Connected: 1 owner.")
		p.end().quiet()
	}
	files, err := filepath.Glob(filepath.Join(s.folder, "second", north.Spelling+"*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the state is in %q, %v", files, err)
	}
	for _, file := range files { // what is damaged was there
		if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p = start(t, s.bare("watch"))
	p.await(p.err, "Connected: 1 owner.")
	p.end()
}

func TestWhoSignsInWhileOthersAreWatchedIsNotTakenOver(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.watch().end()
	p := start(t, s.bare("watch", "--json"))
	p.await(p.err, "Connected: 1 owner.")
	s.signIn(s.south)
	p.await(p.err, strings.ToLower(south.Spelling)+" has signed in meanwhile and is not watched")
	s.publish(s.north, `"on"`, "a")
	p.await(p.out, `"on"`)
	if n := len(s.box.Subscriber(s.south).Subscriptions); n != 0 {
		t.Error("the other one is subscribed")
	}
	p.end()

	// One of two who is not known is a reason to ask; which one, is said.
	r := start(t, s.bare("watch")).wait().expect(statusUsage).says("elsewhere as " + strings.ToLower(south.Spelling) + ", and")
	if strings.Contains(r.err, north.Spelling) {
		t.Errorf("stderr %s", r.err)
	}
}

func TestASecondWatchIsRefusedWithWhateverConfiguration(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	first := s.watch("--json")
	held := fmt.Sprint("process ", first.cmd.Process.Pid, " watches subscription "+north.Spelling)
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	config := s.write("other.yaml", strings.Replace(string(text), "state_folder: state/", "state_folder: "+filepath.Join(s.folder, "owners", "..", "state"), 1))
	for _, args := range [][]string{{"watch"}, {"watch", "--take-over"}, {"watch", "--owner", north.Spelling}} {
		start(t, invocation(t, append([]string{"--config", config}, args...)...)).wait().expect(statusHeld).says(held, "end that one first")
	}
	// So it is with another client ID, of whose own nothing is noted.
	app := s.box.ConfidentialApplication()
	s.write("secret.txt", app.Secret+"\n")
	s.configure("client_id: fdsdemo", "client_id: "+app.ID+"\n  client_secret_file: secret.txt")
	s.signIn(s.north)
	start(t, s.bare("watch")).wait().expect(statusHeld).says(held)
	s.publish(s.north, `"kept"`, "a")
	first.await(first.out, `"kept"`)
	first.end()
}

func TestAPolledProviderHasNobodyToTakeOver(t *testing.T) {
	s := newSetup(t)
	s.poll("{time_member: generic.date_time}")
	s.signIn(s.north)
	p := start(t, s.bare("watch", "--json"))
	p.await(p.err, "Polled: 1 owner.")
	p.end().quiet()
}

func TestTheBoxOfThisMachineIsWatchedWithoutLeave(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "box")
	box := start(t, invocation(t, "provider", "--dir", folder))
	box.await(box.out, "ready")
	config := filepath.Join(folder, configName)
	start(t, invocation(t, "--config", config, "login", "--approve")).wait().expect(statusDone)
	p := start(t, invocation(t, "--config", config, "watch", "--json"))
	p.await(p.err, "Whoever else is connected to this box as this owner is disconnected.")
	p.await(p.out, `"payload"`)
	p.end().quiet()
	p = start(t, invocation(t, "--config", config, "watch"))
	p.await(p.err, "Connected: 1 owner.")
	if r := p.end(); strings.Contains(r.err, "disconnected") {
		t.Errorf("it is said again: %s", r.err)
	}
	// A copy with a state of its own is not the box's.
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(folder, "copy.yaml")
	if err := os.WriteFile(copied, []byte(strings.Replace(string(text), "state/", "state2/", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, invocation(t, "--config", copied, "watch")).wait().expect(statusUsage).says("--take-over")
	box.end()
}

func TestLookingByPollingTakesNothingAway(t *testing.T) {
	s := newSetupOf(t, fdstest.WebAPI{SubscriptionParameter: "owner"})
	const polled = "poll: {interval: 1s}\ntokens:\n"
	s.configure("tokens:\n", polled, "  ca_file:", "  dialect: {time_member: generic.date_time, subscription_parameter: owner}\n  ca_file:")
	s.status(s.north, `{"device_id":"d1","generic":{}}`)
	s.signIn(s.north)
	real := s.watch("--json")
	look := s.start("watch", "--poll", "--json")
	look.await(look.err, "Polled: 1 owner.")
	look.await(look.out, `"source":"poll"`)
	if n := len(s.box.Connections()); n != 1 {
		t.Errorf("%d connections", n)
	}
	s.publish(s.north, `"pushed"`, "a")
	real.await(real.out, `"pushed"`)
	s.event(s.north, "seen")
	look.await(look.out, `"message_id":"seen"`)

	// Its own second one is refused, the other way round it does not hinder watch.
	s.run("watch", "--poll").expect(statusHeld).says(fmt.Sprint("process ", look.cmd.Process.Pid), filepath.Join(s.folder, "state", "poll"))
	real.end().quiet()
	again := s.watch("--json")
	look.end().quiet()
	again.end()

	// It remembers what it has shown, and knows nothing of what watch has handled.
	s.event(s.north, "later")
	look = s.start("watch", "--poll", "--json")
	look.await(look.out, `"message_id":"later"`)
	if r := look.end(); strings.Contains(r.out, "seen") || strings.Contains(r.out, `"d1"`) {
		t.Errorf("stdout %s", r.out)
	}

	s.run("watch", "--poll", "--take-over").expect(statusUsage).says("choose one of --poll, --take-over")
	s.configure("  api_url: "+s.box.APIURL()+"\n", "")
	s.run("watch", "--poll").expect(statusUsage).says("provider.api_url")
	s.configure("tokens:\n", "poll: {interval: 10ms}\ntokens:\n")
	s.run("owners").expect(statusUsage).says("poll.interval is 10ms; it must be at least 1s")
}

func TestALogoutSaysWhoseWatchItEndsAndTheWatchWhy(t *testing.T) {
	s := newSetup(t)
	s.signIn(s.north)
	s.signIn(s.south)
	northID, southID := strings.ToLower(north.Spelling), strings.ToLower(south.Spelling)
	p := s.watch()
	disconnected := fmt.Sprintf("Process %d, which watched this owner, is disconnected.", p.cmd.Process.Pid)
	logout := func(id string) string { return s.run("logout", id).expect(statusDone).err }
	if said := logout(southID); said != southID+" is signed out.\n"+disconnected+"\n" {
		t.Errorf("stderr %s", said)
	}
	p.await(p.err, southID)
	s.publish(s.north, `"on"`, "a")
	p.await(p.out, "  a  ")
	if said := logout(northID); !strings.Contains(said, disconnected) {
		t.Errorf("stderr %s", said)
	}
	r := p.wait().expect(statusSignIn)
	if strings.Contains(r.err, "taken over") || strings.Count(r.err, "another process signed it out") != 2 || strings.Count(r.err, "(subscription "+northID+"); sign in first") != 1 {
		t.Errorf("stderr %s", r.err)
	}
	s.signIn(s.south)
	if said := logout(southID); strings.Contains(said, "Process") {
		t.Errorf("nobody watches, and told is %s", said)
	}
}
