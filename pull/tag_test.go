package pull_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

func TestATagIsCreatedReadFilledAndDeleted(t *testing.T) {
	for _, parameter := range []string{"", "tag"} {
		_, config, _ := provider(t, fdstest.Options{Devices: 3, WebAPI: fdstest.WebAPI{TagParameter: parameter}})
		config.Dialect.TagParameter = parameter
		client := newClient(t, config)
		ctx := t.Context()
		created, err := client.CreateTag(ctx, json.RawMessage(`{"generic":{"name":"north"}}`))
		if err != nil || created.ID == "" || created.Tag.ID() != created.ID {
			t.Fatalf("%+v, %v", created, err)
		}
		devices, err := pull.Collect(client.Specifications(ctx, pull.Query{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := client.SetEntities(ctx, created.ID, []string{devices[0].ID(), devices[2].ID()}); err != nil {
			t.Fatal(err)
		}
		tag, err := client.Tag(ctx, created.ID)
		if err != nil {
			t.Fatal(err)
		}
		if entities, err := fds.As[[]string](tag.Item, "entities"); err != nil || len(entities) != 2 || entities[1] != devices[2].ID() {
			t.Errorf("entities %q, %v of %s", entities, err, tag.Raw())
		}
		if err := client.DeleteTag(ctx, created.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Tag(ctx, created.ID); !isOnly(err, fds.ErrNotFound) {
			t.Errorf("a tag that was deleted: %v", err)
		}
	}
}

func TestALostAnswerToACreateIsUnknown(t *testing.T) {
	p, config, _ := provider(t, fdstest.Options{Devices: 3})
	config.RetryFor = 0
	client := newClient(t, config)
	off := p.Inject(fdstest.LoseTagAnswer())
	_, err := client.CreateTag(t.Context(), json.RawMessage(`{"generic":{}}`))
	off()
	if !errors.Is(err, fds.ErrUnknownOutcome) || pull.Retryable(err) {
		t.Errorf("%v", err)
	}
	if all, err := pull.Collect(client.Tags(t.Context(), pull.Query{})); err != nil || len(all) != 1 {
		t.Errorf("%d tags were made, %v", len(all), err)
	}
}

func TestAttackATagsIDMakesNoOtherPath(t *testing.T) {
	_, config, owner := provider(t, fdstest.Options{Devices: 3})
	client := newClient(t, config)
	for _, id := range []string{"", ".", ".."} {
		if err := client.DeleteTag(t.Context(), id); !isOnly(err, fds.ErrQuery) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if owner.authorized != 0 {
		t.Errorf("%d requests were sent", owner.authorized)
	}
	for _, id := range []string{"a/b", "a?b=c", "../spaces", "ä", "a%2Fb"} {
		var failed *pull.Error
		if err := client.DeleteTag(t.Context(), id); !isOnly(err, fds.ErrNotFound) || !errors.As(err, &failed) || failed.Path != "/fds/v2/tag/"+id {
			t.Errorf("%q: %v", id, err)
		}
	}
}
