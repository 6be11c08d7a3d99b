package pull_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

// TestAProvidersListsAreReadToTheirEndWhateverMarksIt: in every way of paging that a
// provider in a box has, with everything odd that it has for a list's end.
func TestAProvidersListsAreReadToTheirEndWhateverMarksIt(t *testing.T) {
	in := func(p fdstest.Paging) fdstest.WebAPI {
		p.Size, p.SizeParameter = 2, "limit"
		return fdstest.WebAPI{ListMember: "data", Paging: p}
	}
	for name, way := range map[string]fdstest.WebAPI{
		"number":        in(fdstest.Paging{PageParameter: "page", FirstPage: 1}),
		"number, more":  in(fdstest.Paging{PageParameter: "page", MoreMember: "has_more"}),
		"offset":        in(fdstest.Paging{OffsetParameter: "offset"}),
		"offset, more":  in(fdstest.Paging{OffsetParameter: "offset", MoreMember: "paging.has_more"}),
		"cursor":        in(fdstest.Paging{CursorParameter: "after", CursorMember: "paging.next"}),
		"URL":           in(fdstest.Paging{NextMember: "links.next"}),
		"URL of offset": in(fdstest.Paging{NextMember: "next", OffsetParameter: "offset"}),
		"link":          {Paging: fdstest.Paging{LinkHeader: true, SizeParameter: "limit", Size: 2}},
	} {
		p, config, _ := provider(t, fdstest.Options{Devices: -1, WebAPI: way})
		config.Dialect = p.Dialect()
		if faults := config.Dialect.Faults(); len(faults) > 0 {
			t.Fatalf("%s: %q", name, faults)
		}
		for n := range 4 {
			if n > 0 {
				if err := p.AddDevice(p.Owners()[0], fmt.Appendf(nil, `{"device_id":%d}`, n)); err != nil {
					t.Fatal(err)
				}
			}
			for _, odd := range append(fdstest.OddListEnds(), fdstest.Odd{Name: "nothing"}) {
				off := func() {}
				if odd.Name != "nothing" {
					off = p.Inject(odd.Fault)
				}
				if n == 0 && odd.Name == "nothing" {
					off = p.Inject(fdstest.NullLists(fdstest.APIEndpoint))
				}
				var ids strings.Builder
				for device, err := range newClient(t, config).Specifications(t.Context(), pull.Query{}) {
					if err != nil {
						t.Errorf("%s, %d devices, %s: %v", name, n, odd.Name, err)
						break
					}
					ids.WriteString(device.ID())
				}
				if got := ids.String(); got != "12345"[:n] {
					t.Errorf("%s, %d devices, %s: %q", name, n, odd.Name, got)
				}
				off()
			}
		}
		if way.Paging.NextMember != "" || way.Paging.LinkHeader {
			p.Inject(fdstest.NextOverHTTP(fdstest.APIEndpoint))
			if devices, err := pull.Collect(newClient(t, config).Specifications(t.Context(), pull.Query{})); err != nil || len(devices) != 3 {
				t.Errorf("%s, http: %d devices, %v", name, len(devices), err)
			}
		}
	}
}

func TestAProvidersOddItemsAndAnswersAreRead(t *testing.T) {
	p, config, _ := provider(t, fdstest.Options{Devices: 20, WebAPI: fdstest.WebAPI{NumericIDs: true}})
	config.Dialect = p.Dialect()
	client := newClient(t, config)
	want, err := pull.Collect(client.Statuses(t.Context(), pull.Query{}))
	if err != nil || len(want) != 20 {
		t.Fatalf("%d statuses, %v", len(want), err)
	}
	faults := fdstest.OddItems()
	for _, contentType := range []string{"text/plain", "application/octet-stream", ""} {
		faults = append(faults, fdstest.Odd{Name: "as " + contentType, Fault: fdstest.ContentType(fdstest.APIEndpoint, contentType)})
	}
	faults = append(faults, fdstest.Odd{Name: "with a byte order mark", Fault: fdstest.ByteOrderMark(fdstest.APIEndpoint)})
	for _, odd := range faults {
		off := p.Inject(odd.Fault)
		got, err := pull.Collect(client.Statuses(t.Context(), pull.Query{}))
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %d statuses, %v", odd.Name, len(got), err)
			continue
		}
		for i := range got {
			at, ok := config.Dialect.Time(got[i].Item)
			was, _ := config.Dialect.Time(want[i].Item)
			if !ok || at.Unix() != was.Unix() || got[i].ID() != want[i].ID() {
				t.Fatalf("%s: %s at %v, %v, want %s at %v", odd.Name, got[i].ID(), at, ok, want[i].ID(), was)
			}
		}
		off()
	}
	p.Inject(fdstest.LongAddresses(fdstest.APIEndpoint, 120))
	ids := make([]string, 0, len(want))
	for _, status := range want {
		ids = append(ids, status.ID())
	}
	if got, err := pull.Collect(client.Statuses(t.Context(), pull.Query{IDs: ids})); err != nil || len(got) != len(want) {
		t.Errorf("addresses of 120 bytes: %d statuses, %v", len(got), err)
	}
}

func TestAProviderThatForbidsForNowIsAskedAgain(t *testing.T) {
	t.Parallel()
	p, config, _ := provider(t, fdstest.Options{Devices: 1})
	config.RetryFor = 0
	p.Inject(fdstest.ForbiddenForNow(fdstest.APIEndpoint, "1").Times(1))
	if got, err := pull.Collect(newClient(t, config).Specifications(t.Context(), pull.Query{})); err != nil || len(got) != 1 {
		t.Errorf("%d devices, %v", len(got), err)
	}
	if requests := p.Requests(fdstest.APIEndpoint); requests != 2 {
		t.Errorf("%d requests", requests)
	}
}
