//go:build unix && !darwin

package tokenstore

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// reachable reports whether there is a D-Bus session bus to be asked for the Secret
// Service. Without one the D-Bus library would run dbus-launch, which starts a
// daemon that nobody ends; so it must not be called then. It looks where that
// library looks.
func reachable() error {
	if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" && address != "autolaunch:" {
		return nil
	}
	folder := "/run/user/" + strconv.Itoa(os.Getuid())
	for _, name := range []string{"/bus", "/dbus-session"} {
		if _, err := os.Stat(folder + name); err == nil {
			return nil
		}
	}
	return errNoBus
}

const (
	secretsName    = "org.freedesktop.secrets"
	secretsPath    = dbus.ObjectPath("/org/freedesktop/secrets")
	secretsService = "org.freedesktop.Secret.Service"
	loginPath      = secretsPath + "/collection/login"
	noObject       = dbus.ObjectPath("/")
)

// quiet says why a call of go-keyring about that entry would ask a person for
// something: it calls Unlock each time, which shows a prompt where something is
// locked. Between the look and the call it may be locked; that cannot be helped.
func quiet(service, user string) error {
	if err := reachable(); err != nil {
		return err
	}
	bus, collection, err := usedCollection()
	if err != nil {
		return err
	}
	if err := unlocked(bus, collection, "org.freedesktop.Secret.Collection"); err != nil {
		return err
	}
	var found []dbus.ObjectPath
	attributes := map[string]string{"username": user, "service": service}
	if err := bus.Object(secretsName, collection).Call("org.freedesktop.Secret.Collection.SearchItems", 0, attributes).Store(&found); err != nil {
		return err
	}
	for _, item := range found { // some keyrings ask about each
		if err := unlocked(bus, item, "org.freedesktop.Secret.Item"); err != nil {
			return err
		}
	}
	return nil
}

func unlocked(bus *dbus.Conn, path dbus.ObjectPath, kind string) error {
	value, err := bus.Object(secretsName, path).GetProperty(kind + ".Locked")
	if err != nil {
		return err
	}
	if locked, ok := value.Value().(bool); !ok || locked {
		return errLocked
	}
	return nil
}

// usedCollection returns the collection that go-keyring uses, or errNoCollection.
func usedCollection() (*dbus.Conn, dbus.ObjectPath, error) {
	bus, err := dbus.SessionBus() // that of go-keyring too
	if err != nil {
		return nil, "", err
	}
	secrets := bus.Object(secretsName, secretsPath)
	value, err := secrets.GetProperty(secretsService + ".Collections")
	if err != nil {
		return nil, "", err
	}
	collections, ok := value.Value().([]dbus.ObjectPath)
	if !ok {
		return nil, "", fmt.Errorf("the Secret Service gives its collections as %s", value.Signature())
	}
	for _, path := range collections {
		if path == loginPath {
			return bus, path, nil
		}
	}
	var path dbus.ObjectPath
	if err := secrets.Call(secretsService+".ReadAlias", 0, "default").Store(&path); err != nil {
		return nil, "", err
	}
	if path == noObject {
		return nil, "", errNoCollection
	}
	return bus, path, nil
}

// explained tells a Secret Service without a collection from one that is locked:
// go-keyring's error is that of a prompt which unlocked nothing.
func explained(err error) error {
	if err == nil || !strings.Contains(err.Error(), "failed to unlock") {
		return err
	}
	if _, _, lookErr := usedCollection(); errors.Is(lookErr, errNoCollection) {
		return errNoCollection
	}
	return err
}
