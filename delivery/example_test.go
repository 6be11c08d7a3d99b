package delivery_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// What a handler returns says whether the message is done with. One that can never be used is.
func ExampleHandler() {
	full := false // the application's disk
	var handler delivery.Handler = func(_ context.Context, m delivery.Message) error {
		item, err := m.Item()
		if err != nil {
			fmt.Printf("not FDS: %q\n", m.Payload)
			return nil // it would be the same the next time
		}
		if full {
			return errors.New("the disk is full") // tried again, before any other message of this owner
		}
		level, err := fds.As[float64](item, "fill_level")
		if err != nil {
			level = -1
		}
		fmt.Println(m.Source, level)
		return nil
	}

	ctx := context.Background()
	m := delivery.Message{Source: delivery.FromPush, Payload: []byte(`{"device_id":"soap-1","fill_level":41.2}`)}
	fmt.Println(handler(ctx, m))
	fmt.Println(handler(ctx, delivery.Message{Source: delivery.FromPush, Payload: []byte("hello")}))
	full = true
	fmt.Println(handler(ctx, m))
	// Output:
	// push 41.2
	// <nil>
	// not FDS: "hello"
	// <nil>
	// the disk is full
}
