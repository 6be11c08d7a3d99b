package realtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	secretsName     = "org.freedesktop.secrets"
	secretsPath     = "/org/freedesktop/secrets"
	loginCollection = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	keyringPassword = "realtest keyring password"
)

// busConfiguration has no service folders: nothing is started on demand, so no daemon can outlive
// the test, and a killed Secret Service stays dead.
const busConfiguration = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`

// Secrets is a running Secret Service with one unlocked collection, "login", which is the default
// one.
type Secrets struct {
	t         testing.TB
	folder    string
	daemon    string // path of gnome-keyring-daemon
	address   string
	variables [][2]string
	keyring   *child
}

// SecretService starts a private D-Bus session bus and gnome-keyring on it, unlocked and empty,
// with a HOME and XDG folders of their own, and points this process at them (t.Setenv, so not for
// parallel tests). The Go tool's caches stay where they are, so that a test can still build. All of
// it ends with the test.
//
// A process keeps one shared D-Bus connection (go-keyring uses it): SecretService fails the test
// rather than touch the keyring of the person at the machine when that connection already leads
// elsewhere.
func SecretService(t testing.TB) *Secrets {
	t.Helper()
	if runtime.GOOS != "linux" {
		Require(t, "a Secret Service", "it exists on Linux only")
	}
	const install = "apt-get install --no-install-recommends dbus gnome-keyring"
	busDaemon := program(t, "a Secret Service", "dbus-daemon", install)
	s := &Secrets{t: t, daemon: program(t, "a Secret Service", "gnome-keyring-daemon", install), folder: shortTempDir(t)}

	for _, name := range []string{"home", "run", "data", "config", "cache", "state"} {
		if err := os.Mkdir(filepath.Join(s.folder, name), 0o700); err != nil {
			t.Fatalf("realtest: %v", err)
		}
	}
	s.variables = append(goToolFolders(),
		[2]string{"HOME", filepath.Join(s.folder, "home")},
		[2]string{"XDG_RUNTIME_DIR", filepath.Join(s.folder, "run")},
		[2]string{"XDG_DATA_HOME", filepath.Join(s.folder, "data")},
		[2]string{"XDG_CONFIG_HOME", filepath.Join(s.folder, "config")},
		[2]string{"XDG_CACHE_HOME", filepath.Join(s.folder, "cache")},
		[2]string{"XDG_STATE_HOME", filepath.Join(s.folder, "state")},
		[2]string{"GNOME_KEYRING_CONTROL", ""},
		[2]string{"DISPLAY", ""}, // no prompt may reach the screen of the person at the machine
		[2]string{"WAYLAND_DISPLAY", ""},
	)

	configuration := filepath.Join(s.folder, "bus.conf")
	socket := filepath.Join(s.folder, "run", "bus")
	if err := os.WriteFile(configuration, fmt.Appendf(nil, busConfiguration, socket), 0o600); err != nil {
		t.Fatalf("realtest: %v", err)
	}
	command := exec.Command(busDaemon, "--config-file="+configuration, "--nofork", "--nopidfile", "--nosyslog", "--print-address=1")
	command.Env = append(os.Environ(), s.Env()...)
	bus := startChild(t, "dbus-daemon", command)
	s.address = bus.waitLine(t, "guid=")
	s.variables = append(s.variables, [2]string{"DBUS_SESSION_BUS_ADDRESS", s.address})

	for _, variable := range s.variables {
		t.Setenv(variable[0], variable[1])
	}
	shared := s.sharedConnection()
	t.Cleanup(func() {
		// The next test's bus must not be reached over this one's connection.
		bus.kill()
		select {
		case <-shared.Context().Done():
		case <-time.After(stopTime):
			t.Errorf("realtest: the shared D-Bus connection outlived its bus by %v", stopTime)
		}
	})
	s.Start()
	return s
}

// sharedConnection makes the process's shared connection, and fails the test when it leads to
// another bus than ours.
func (s *Secrets) sharedConnection() *dbus.Conn {
	s.t.Helper()
	shared, err := dbus.SessionBus()
	if err != nil {
		s.t.Fatalf("realtest: connect to the private bus: %v", err)
	}
	var sharedID, ownID string
	const getID = "org.freedesktop.DBus.GetId"
	if err := shared.BusObject().Call(getID, 0).Store(&sharedID); err != nil {
		s.t.Fatalf("realtest: ask the shared connection's bus who it is: %v", err)
	}
	s.withBus(func(conn *dbus.Conn) error { return conn.BusObject().Call(getID, 0).Store(&ownID) })
	if sharedID != ownID {
		s.t.Fatal("realtest: this process already uses another D-Bus session bus; call SecretService before anything opens a keyring")
	}
	return shared
}

// Env returns the variables ("NAME=value") that lead a child process to this Secret Service. A
// child that inherits the environment of the test has them already.
func (s *Secrets) Env() []string {
	env := make([]string, 0, len(s.variables))
	for _, variable := range s.variables {
		env = append(env, variable[0]+"="+variable[1])
	}
	return env
}

// Start starts the daemon again after Kill, unlocked, with the secrets it had.
func (s *Secrets) Start() {
	s.t.Helper()
	command := exec.Command(s.daemon, "--foreground", "--unlock", "--components=secrets")
	command.Env = append(os.Environ(), s.Env()...)
	command.Stdin = strings.NewReader(keyringPassword)
	s.keyring = startChild(s.t, "gnome-keyring-daemon", command)
	s.waitFor("the login collection is open", func(conn *dbus.Conn) bool {
		locked, err := conn.Object(secretsName, loginCollection).GetProperty("org.freedesktop.Secret.Collection.Locked")
		return err == nil && locked.Value() == false
	})
}

// StartFresh starts the daemon after Kill as on a machine where nobody has made a keyring yet:
// there is no collection. The secrets it had are gone.
func (s *Secrets) StartFresh() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.folder, "data", "keyrings")); err != nil {
		s.t.Fatalf("realtest: %v", err)
	}
	command := exec.Command(s.daemon, "--foreground", "--components=secrets")
	command.Env = append(os.Environ(), s.Env()...)
	s.keyring = startChild(s.t, "gnome-keyring-daemon", command)
	s.waitFor("a Secret Service without a collection answers", func(conn *dbus.Conn) bool {
		var path dbus.ObjectPath
		err := conn.Object(secretsName, secretsPath).Call("org.freedesktop.Secret.Service.ReadAlias", 0, "default").Store(&path)
		return err == nil && path == "/"
	})
}

// Unlocks counts from now on how often anyone asks the Secret Service to unlock something, which
// shows a prompt where it is locked.
func (s *Secrets) Unlocks() (count func() int) {
	s.t.Helper()
	conn, err := dbus.Connect(s.address)
	if err != nil {
		s.t.Fatalf("realtest: connect to the private bus: %v", err)
	}
	s.t.Cleanup(func() { conn.Close() })
	rule := "type='method_call',interface='org.freedesktop.Secret.Service',member='Unlock'"
	if err := conn.BusObject().Call("org.freedesktop.DBus.Monitoring.BecomeMonitor", 0, []string{rule}, uint32(0)).Err; err != nil {
		s.t.Fatalf("realtest: watch the private bus: %v", err)
	}
	seen := make(chan *dbus.Message, 10_000)
	conn.Eavesdrop(seen)
	return func() (n int) {
		// What was asked before this question, is seen before its answer.
		s.withBus(func(asker *dbus.Conn) error {
			return asker.Object(secretsName, secretsPath).Call("org.freedesktop.Secret.Service.Unlock", 0, []dbus.ObjectPath{}).Err
		})
		for {
			select {
			case m := <-seen:
				if m.Type != dbus.TypeMethodCall { // the bus takes a monitor's name away
					continue
				}
				if paths, ok := m.Body[0].([]dbus.ObjectPath); ok && len(paths) == 0 {
					return n
				}
				n++
			case <-time.After(startTime):
				s.t.Fatal("realtest: the bus shows nothing")
			}
		}
	}
}

// Kill kills the daemon; the bus stays, without a Secret Service on it.
func (s *Secrets) Kill() {
	s.t.Helper()
	s.keyring.kill()
	s.waitFor("the bus has let the Secret Service go", func(conn *dbus.Conn) bool {
		var owned bool
		err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, secretsName).Store(&owned)
		return err == nil && !owned
	})
}

// Lock locks the collection. Nothing can unlock it by a prompt: there is no prompter on this bus.
func (s *Secrets) Lock() {
	s.t.Helper()
	s.withBus(func(conn *dbus.Conn) error {
		var locked []dbus.ObjectPath
		var prompt dbus.ObjectPath
		call := conn.Object(secretsName, secretsPath).Call("org.freedesktop.Secret.Service.Lock", 0, []dbus.ObjectPath{loginCollection})
		if err := call.Store(&locked, &prompt); err != nil {
			return err
		}
		if !slices.Contains(locked, loginCollection) {
			return fmt.Errorf("the collection was not locked (prompt %q)", prompt)
		}
		return nil
	})
}

// Unlock unlocks the collection, as its owner does at the prompt.
func (s *Secrets) Unlock() {
	s.t.Helper()
	s.withBus(func(conn *dbus.Conn) error {
		var ignored dbus.Variant
		var session dbus.ObjectPath
		service := conn.Object(secretsName, secretsPath)
		if err := service.Call("org.freedesktop.Secret.Service.OpenSession", 0, "plain", dbus.MakeVariant("")).Store(&ignored, &session); err != nil {
			return err
		}
		password := struct {
			Session     dbus.ObjectPath
			Parameters  []byte
			Value       []byte
			ContentType string
		}{session, []byte{}, []byte(keyringPassword), "text/plain"}
		return service.Call("org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface.UnlockWithMasterPassword", 0, loginCollection, password).Err
	})
}

// withBus runs do on a connection of its own, so that nothing here depends on the state of the
// shared one.
func (s *Secrets) withBus(do func(*dbus.Conn) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	conn, err := dbus.Connect(s.address, dbus.WithContext(ctx))
	if err != nil {
		s.t.Fatalf("realtest: connect to the private bus: %v", err)
	}
	defer conn.Close()
	if err := do(conn); err != nil {
		s.t.Fatalf("realtest: Secret Service: %v", err)
	}
}

// waitFor polls the bus until the condition holds.
func (s *Secrets) waitFor(what string, holds func(*dbus.Conn) bool) {
	s.t.Helper()
	deadline := time.Now().Add(startTime)
	s.withBus(func(conn *dbus.Conn) error {
		for !holds(conn) {
			if time.Now().After(deadline) {
				return fmt.Errorf("waited %v in vain until %s", startTime, what)
			}
			time.Sleep(2 * time.Millisecond)
		}
		return nil
	})
}

// shortTempDir is a temp folder whose path leaves room for a socket's name: a socket's path is
// limited to 107 bytes, and t.TempDir puts the test's name into it.
func shortTempDir(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "fds")
	if err != nil {
		t.Fatalf("realtest: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Errorf("realtest: %v", err)
		}
	})
	return folder
}

// goToolFolders keeps the Go tool's folders where they are when HOME moves.
func goToolFolders() [][2]string {
	var variables [][2]string
	keep := func(name string, folder func() (string, error), below ...string) {
		if os.Getenv(name) != "" {
			return
		}
		if path, err := folder(); err == nil {
			variables = append(variables, [2]string{name, filepath.Join(append([]string{path}, below...)...)})
		}
	}
	keep("GOPATH", os.UserHomeDir, "go")
	keep("GOCACHE", os.UserCacheDir, "go-build")
	keep("GOENV", os.UserConfigDir, "go", "env")
	return variables
}
