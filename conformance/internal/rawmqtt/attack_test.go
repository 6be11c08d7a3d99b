package rawmqtt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestAttackHostileBytesEndTheConnectionAndNothingElse(t *testing.T) {
	connack := []byte{0x20, 3, 0, 0, 0}
	for name, c := range map[string]struct {
		says []byte
		want error
	}{
		"nothing":                             {nil, ErrClosed},
		"a length of five bytes":              {[]byte{0x20, 0xff, 0xff, 0xff, 0xff, 0x7f}, ErrBroken},
		"a packet of 256 MiB":                 {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, ErrBroken},
		"a CONNACK of half a MiB":             {[]byte{0x20, 0x80, 0x80, 0x20}, ErrBroken},
		"properties beyond their packet":      {[]byte{0x20, 4, 0, 0, 0x7f, 0x11}, ErrBroken},
		"a property that there is not":        {[]byte{0x20, 5, 0, 0, 2, 0x7f, 0}, ErrBroken},
		"a packet of type 0":                  {[]byte{0x00, 0}, ErrBroken},
		"a request of a client's":             {[]byte{0x82, 6, 0, 1, 0, 0, 1, 'x'}, ErrBroken},
		"a topic beyond its packet":           {append(connack, 0x30, 3, 0xff, 0xff, 'x'), ErrBroken},
		"a message without an identifier":     {append(connack, 0x32, 3, 0, 1, 'x'), ErrBroken},
		"properties of a message cut":         {append(connack, 0x30, 5, 0, 1, 'x', 0xff, 0xff), ErrBroken},
		"quality of service 3":                {append(connack, 0x36, 3, 0, 1, 'x'), ErrBroken},
		"answers that nobody has asked for":   {bytes.Repeat([]byte{0xd0, 0}, 100), ErrBroken},
		"half a packet":                       {append(connack, 0x30, 100, 0, 1), ErrClosed},
		"a web server":                        {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), ErrClosed},
		"a CONNACK that refuses, of MQTT 3":   {[]byte{0x20, 2, 0, 5}, nil},
		"a DISCONNECT with words of no UTF-8": {[]byte{0xe0, 7, 0x8e, 5, 0x1f, 0, 2, 0xff, 0x9b}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			go io.Copy(io.Discard, far)
			go func() {
				_, _ = far.Write(c.says)
				_ = far.Close()
			}()
			conn := New(near, near, func(m Message) bool {
				t.Errorf("a message of the topic %q", m.Topic)
				return false
			})
			select {
			case <-conn.Ended():
			case <-time.After(10 * time.Second):
				t.Fatal("the connection goes on")
			}
			var refused *Refusal
			if err := conn.Err(); c.want != nil && !errors.Is(err, c.want) || c.want == nil && !errors.As(err, &refused) && !errors.Is(err, ErrBroken) {
				t.Errorf("it ended with %v", err)
			}
			conn.Close(false)
		})
	}
}

func TestAttackABrokerThatSaysNothingIsLeftWithTheContext(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go io.Copy(io.Discard, far)
	conn := New(near, near, func(Message) bool { return false })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := conn.Connect(ctx, Connect{ClientID: "x"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("CONNECT ended with %v", err)
	}
	conn.Close(false)
}
