package main

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// anyone needs no token.
type anyone struct{}

func (anyone) Authorize(context.Context, *http.Request) error           { return nil }
func (anyone) Challenged(context.Context, *http.Response) (bool, error) { return false, nil }

func readSDK(ctx context.Context, at *api, use func(id, kind string)) error {
	client, err := pull.New(pull.Config{
		BaseURL: at.url, Authorizer: anyone{}, Transport: at.transport,
		Dialect: fds.Dialect{Paging: fds.Paging{PageParameter: "page"}},
	})
	if err != nil {
		return err
	}
	for device, err := range client.Specifications(ctx, pull.Query{}) {
		if err != nil {
			return err
		}
		use(device.ID(), string(device.Type()))
	}
	return nil
}

// device is what the loop by hand takes of a device.
type device struct {
	ID      string `json:"device_id"`
	Generic struct {
		Type string `json:"device_type"`
	} `json:"generic"`
}

func readByHand(ctx context.Context, at *api, use func(id, kind string)) error {
	for page := 0; ; page++ {
		response, err := at.get(ctx, page)
		if err != nil {
			return err
		}
		var devices []device
		err = json.NewDecoder(response.Body).Decode(&devices)
		response.Body.Close()
		if err != nil {
			return err
		}
		if len(devices) == 0 {
			return nil
		}
		for _, d := range devices {
			use(d.ID, d.Generic.Type)
		}
	}
}
