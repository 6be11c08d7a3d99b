package tokenstore

import (
	"errors"
	"os"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// cautious is a Secret Service whose keyring is unlocked while it asks about each
// entry, as KeePassXC can be set to.
type cautious struct{ item dbus.ObjectPath }

func (cautious) ReadAlias(string) (dbus.ObjectPath, *dbus.Error) {
	return secretsPath + "/collection/passwords", nil
}

func (c cautious) SearchItems(attributes map[string]string) ([]dbus.ObjectPath, *dbus.Error) {
	if attributes["service"] != "service" || attributes["username"] != "user" {
		return nil, nil
	}
	return []dbus.ObjectPath{c.item}, nil
}

func TestAnEntryThatAKeyringAsksAboutIsLeftAloneWhenNobodyWaits(t *testing.T) {
	service := realtest.SecretService(t)
	service.Kill()
	bus, err := dbus.Connect(os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	collection := secretsPath + "/collection/passwords"
	c := cautious{collection + "/1"}
	locked := func(path dbus.ObjectPath, kind string, is bool) *prop.Properties {
		p, err := prop.Export(bus, path, prop.Map{kind: {"Locked": {Value: is, Emit: prop.EmitFalse}}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if _, err := prop.Export(bus, secretsPath, prop.Map{secretsService: {"Collections": {Value: []dbus.ObjectPath{collection}, Emit: prop.EmitFalse}}}); err != nil {
		t.Fatal(err)
	}
	locked(collection, "org.freedesktop.Secret.Collection", false)
	item := locked(c.item, "org.freedesktop.Secret.Item", true)
	if err := errors.Join(bus.Export(c, secretsPath, secretsService), bus.Export(c, collection, "org.freedesktop.Secret.Collection")); err != nil {
		t.Fatal(err)
	}
	if reply, err := bus.RequestName(secretsName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("%v, %v", reply, err)
	}
	if err := quiet("service", "user"); !errors.Is(err, errLocked) {
		t.Errorf("for an entry that is asked about: %v", err)
	}
	if err := quiet("service", "another user"); err != nil {
		t.Errorf("for an entry that is not there: %v", err)
	}
	item.SetMust("org.freedesktop.Secret.Item", "Locked", false)
	if err := quiet("service", "user"); err != nil {
		t.Errorf("for an entry that may be read: %v", err)
	}
}
