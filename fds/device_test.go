package fds_test

import (
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

func TestADevicesIDStandsWhereTheDialectSays(t *testing.T) {
	const data = `{"device_id":"FORKINC_S1_1223","id":"x\u00e9","message_id":"m","tag_id":"t","generic":{"device_type":"dispenser","device_id":"inner"}}`
	for _, test := range []struct {
		dialect fds.Dialect
		want    string
	}{
		{fds.Dialect{}, "FORKINC_S1_1223"},
		{fds.Dialect{DeviceID: "id"}, "xé"},
		{fds.Dialect{DeviceID: "serial"}, ""},
		{fds.Dialect{DeviceID: "generic"}, ""},
	} {
		device, err := fds.ParseDevice([]byte(data), test.dialect)
		if err != nil || device.ID() != test.want {
			t.Errorf("%+v: ID %q, %v, want %q", test.dialect, device.ID(), err, test.want)
		}
	}
	message, err := fds.ParseMessage([]byte(data), fds.Dialect{})
	if err != nil || message.ID() != "m" {
		t.Errorf("message: ID %q, %v", message.ID(), err)
	}
	if message, _ := fds.ParseMessage([]byte(data), fds.Dialect{MessageID: "id"}); message.ID() != "xé" {
		t.Errorf("message of another dialect: ID %q", message.ID())
	}
	tag, err := fds.ParseTag([]byte(data), fds.Dialect{})
	if err != nil || tag.ID() != "t" {
		t.Errorf("tag: ID %q, %v", tag.ID(), err)
	}
	if tag, _ := fds.ParseTag([]byte(data), fds.Dialect{TagID: "id"}); tag.ID() != "xé" {
		t.Errorf("tag of another dialect: ID %q", tag.ID())
	}
}

func TestADevicesTypeIsReadFromGenericAndElseFromTheRoot(t *testing.T) {
	for _, test := range []struct {
		data string
		want fds.DeviceType
	}{
		{`{"generic":{"device_type":"dispenser"},"device_type":"root"}`, fds.DeviceDispenser},
		{`{"generic":{},"device_type":"dispenser"}`, fds.DeviceDispenser},
		{`{"generic":{"device_type":null},"device_type":"dispenser"}`, fds.DeviceDispenser},
		{`{"generic":{"device_type":7}}`, ""},
		{`{"generic":"device_type"}`, ""},
		{`{}`, ""},
	} {
		device, err := fds.ParseDevice([]byte(test.data), fds.Dialect{})
		if err != nil || device.Type() != test.want {
			t.Errorf("%s: type %q, %v, want %q", test.data, device.Type(), err, test.want)
		}
	}
}

func TestTheSpecificObjectIsOptional(t *testing.T) {
	with, err := fds.ParseDevice([]byte(`{"device_type_specific":{"category":"soap"}}`), fds.Dialect{})
	if err != nil {
		t.Fatal(err)
	}
	if raw, ok := with.Specific(); !ok || string(raw) != `{"category":"soap"}` {
		t.Errorf("specific: %s, %v", raw, ok)
	}
	without, err := fds.ParseSpace([]byte(`{"device_type_specific":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if raw, ok := without.Specific(); ok {
		t.Errorf("a space has the specific object of a device: %s", raw)
	}
}

func TestOnlyAnObjectWithAStatusAndAMessageIsAnErrorObject(t *testing.T) {
	for _, test := range []struct {
		data    string
		ok      bool
		status  int
		message string
	}{
		{`{"status":401,"message":"unauthorized_request"}`, true, 401, fds.MessageUnauthorized},
		{`{"status":400,"message":"invalid_parameter","parameter":"id"}`, true, 400, fds.MessageInvalidParameter},
		{` { "message" : "not_implemented" , "status" : 204.0 } `, true, 204, fds.MessageNotImplemented},
		{`{"status":2.04e2,"message":"\u006e"}`, true, 204, "n"},
		{`{"status":1,"status":204,"message":"a","message":"b"}`, true, 204, "b"},
		{`{"status":0,"message":""}`, true, 0, ""},
		{`{"status":204.5,"message":"a"}`, false, 0, ""},
		{`{"status":"204","message":"a"}`, false, 0, ""},
		{`{"status":null,"message":"a"}`, false, 0, ""},
		{`{"status":204,"message":null}`, false, 0, ""},
		{`{"status":204,"message":{"text":"a"}}`, false, 0, ""},
		{`{"status":1e999,"message":"a"}`, false, 0, ""},
		{`{"status":1e18,"message":"a"}`, false, 0, ""},
		{`{"status":204}`, false, 0, ""},
		{`{"message":"a"}`, false, 0, ""},
		{`{"Status":204,"Message":"a"}`, false, 0, ""},
		{`[{"status":204,"message":"a"}]`, false, 0, ""},
		{`{"status":204,"message":"a"`, false, 0, ""},
		{``, false, 0, ""},
	} {
		got, ok := fds.ParseErrorObject([]byte(test.data))
		if ok != test.ok || got.Status != test.status || got.Message != test.message {
			t.Errorf("%s: %v, %d, %q", test.data, ok, got.Status, got.Message)
		}
		if ok && string(got.Raw()) != test.data {
			t.Errorf("%s: raw is %s", test.data, got.Raw())
		}
	}
}

func FuzzParseErrorObject(f *testing.F) {
	f.Add([]byte(`{"status":401,"message":"unauthorized_request"}`))
	f.Add([]byte(`{"status":1e3,"message":"\ud800\\"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := fds.ParseErrorObject(data)
		if !ok {
			return
		}
		status, err := fds.As[float64](got.Item, "status")
		if err != nil || int(status) != got.Status || float64(got.Status) != status {
			t.Fatalf("%q: status %d, read again %v, %v", data, got.Status, status, err)
		}
		if message, err := fds.As[string](got.Item, "message"); err != nil || message != got.Message {
			t.Fatalf("%q: message %q, read again %q, %v", data, got.Message, message, err)
		}
	})
}
