package docs_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// The three providers of dialect.md, in its words.

var cursors = fds.Dialect{
	ListMember: "items",
	Paging: fds.Paging{
		CursorParameter: "after",
		CursorMember:    "paging.next",
		SizeParameter:   "limit",
		Size:            10,
	},
	FromParameter: "since",
	ToParameter:   "until",
	TimeMember:    "generic.date_time",
}

var pageNumbers = fds.Dialect{
	ListMember: "data",
	Paging: fds.Paging{
		PageParameter: "page",
		FirstPage:     1,
		MoreMember:    "has_more",
		SizeParameter: "per_page",
		Size:          10,
	},
	SubscriptionMember: "generic.owner",
	LanguageParameter:  "lang",
	IDsSeparator:       ";",
}

var nextURLs = fds.Dialect{
	ListMember:  "data",
	Paging:      fds.Paging{NextMember: "links.next"},
	TimeMember:  "generic.date_time",
	EventTopic:  "devices/{generic.device_id}/events",
	StatusTopic: "devices/{device_id}/status",
}

// A provider that splits lists by cursors and knows a span of time.
func Example_cursors() {
	provider := start(fdstest.Options{
		Devices: 25,
		WebAPI: fdstest.WebAPI{
			ListMember: "items",
			Paging:     fdstest.Paging{CursorParameter: "after", CursorMember: "paging.next", SizeParameter: "limit", Size: 7},
		},
		TimeRange: &fdstest.TimeRange{From: "since", To: "until"},
	})
	defer provider.Close()
	client, owners := signIn(provider, cursors, fdsclient.Config{})
	defer client.Close()

	devices, err := pull.Collect(owners[0].Pull().Specifications(context.Background(), pull.Query{}))
	fmt.Println(len(devices), "devices", err)
	show(provider)
	_, err = pull.Collect(owners[0].Pull().Events(context.Background(), pull.Query{From: time.Now()}))
	fmt.Println("events", err)
	show(provider)
	// Output:
	// 25 devices <nil>
	// specifications limit
	// specifications after limit
	// specifications after limit
	// events <nil>
	// events limit since
}

// A provider that numbers pages, and whose owners sign in together.
func Example_pageNumbers() {
	provider := start(fdstest.Options{
		Devices: 12,
		WebAPI: fdstest.WebAPI{
			ListMember:         "data",
			Paging:             fdstest.Paging{PageParameter: "page", FirstPage: 1, MoreMember: "has_more", SizeParameter: "per_page"},
			SubscriptionMember: "generic.owner",
			LanguageParameter:  "lang",
			IDsSeparator:       ";",
		},
	})
	defer provider.Close()
	client, owners := signIn(provider, pageNumbers, fdsclient.Config{}, provider.Owners()[:2]...)
	defer client.Close()

	for _, owner := range owners {
		devices, err := pull.Collect(owner.Pull().Specifications(context.Background(), pull.Query{Language: "de"}))
		fmt.Println(len(devices), "devices", err)
		show(provider)
	}
	together, err := pull.Collect(owners[0].PullGrant().Specifications(context.Background(), pull.Query{}))
	fmt.Println(len(together), "devices of both", err)
	// Output:
	// 12 devices <nil>
	// specifications lang page per_page
	// specifications lang page per_page
	// specifications lang page per_page
	// 12 devices <nil>
	// specifications lang page per_page
	// specifications lang page per_page
	// specifications lang page per_page
	// 24 devices of both <nil>
}

// A provider whose answers lead to the next page, and of whose messages the events alone are
// wanted. What an outage has lost is fetched from the Web API, and of that, too, the events alone.
func Example_nextURLs() {
	provider := start(fdstest.Options{
		Devices: 3,
		WebAPI:  fdstest.WebAPI{ListMember: "data", Paging: fdstest.Paging{NextMember: "links.next", Size: 2}},
	})
	defer provider.Close()
	owner, device := provider.Owners()[0], []byte(`{"device_id":"D1","generic":{"device_type":"dispenser"}}`)
	if err := provider.AddDevice(owner, device); err != nil {
		log.Fatal(err)
	}
	happens := func(event string) {
		item := fmt.Sprintf(`{"message_id":%q,"generic":{"device_id":"D1","date_time":%q}}`, event, time.Now().UTC().Format(time.RFC3339Nano))
		if err := errors.Join(provider.SetStatus(owner, device), provider.AddEvent(owner, []byte(item))); err != nil {
			log.Fatal(err)
		}
	}
	client, _ := signIn(provider, nextURLs, fdsclient.Config{
		Push:  push.Settings{Topics: []string{"devices/+/events"}},
		Hooks: []any{&whenConnected{first: func() { happens("door opened") }}},
	})
	defer client.Close()

	for run := range 2 {
		if run == 1 { // nobody receives it, and the broker forgets it
			happens("door closed")
			provider.Inject(fdstest.LoseSessions(owner))
		}
		ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
		err := client.Run(ctx, func(_ context.Context, m delivery.Message) error {
			item, _ := m.Item()
			if id, _ := fds.As[string](item, "message_id"); strings.HasPrefix(id, "door") { // and none of the made-up ones
				fmt.Println(m.Source, m.Levels, id)
				stop()
			}
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// push [devices D1 events] door opened
	// backfill [] door closed
}

// whenConnected is a hook.
type whenConnected struct {
	once  sync.Once
	first func()
}

func (h *whenConnected) OnConnection(_ fds.OwnerKey, s push.State) {
	if s.Phase == push.Connected {
		h.once.Do(func() { go h.first() })
	}
}

func start(options fdstest.Options) *fdstest.Provider {
	options.Quiet = true
	provider, err := fdstest.Start(options)
	if err != nil {
		log.Fatal(err)
	}
	return provider
}

// signIn opens a client with a dialect and has owners of the provider, by default its first, sign
// in together.
func signIn(provider *fdstest.Provider, dialect fds.Dialect, config fdsclient.Config, owners ...fdstest.Owner) (*fdsclient.Client, []*fdsclient.Owner) {
	config.Provider = fdsclient.Provider{
		Issuer: provider.Issuer(), APIURL: provider.APIURL(), BrokerURL: provider.BrokerURL(), Roots: provider.Roots,
		Dialect: dialect,
	}
	config.Application = fdsclient.Application{Name: "docs", ClientID: provider.PublicApplication().ID}
	if config.State = new(statestore.Memory); config.Store == nil {
		config.Store = tokenstore.OpenMemory()
	}
	config.Logger = slog.New(slog.DiscardHandler)
	config.Certificates = func(_ context.Context, key fds.OwnerKey) (*tls.Certificate, error) {
		for _, owner := range provider.Owners() {
			if owner.SubscriptionID == key.SubscriptionID {
				certificate, err := provider.OwnerCertificate(owner)
				return &certificate.TLS, err
			}
		}
		return nil, fds.ErrNoCertificate
	}
	client, err := fdsclient.New(config)
	if err != nil {
		log.Fatal(err)
	}
	signedIn, err := client.SignIn(context.Background(), fdsclient.SignInOptions{
		ShowURL:     func(string) {},
		OpenBrowser: func(ctx context.Context, url string) error { return provider.Approve(ctx, url, owners...) },
	})
	if err != nil {
		log.Fatal(err)
	}
	return client, signedIn
}

// show prints what the Web API was asked for since the last time.
func show(provider *fdstest.Provider) {
	requests := provider.APIRequests()
	for _, r := range requests[shown[provider]:] {
		values, _ := url.ParseQuery(r.Query)
		fmt.Println(strings.Join(append([]string{strings.TrimPrefix(r.Path, "/fds/v2/")}, slices.Sorted(maps.Keys(values))...), " "))
	}
	shown[provider] = len(requests)
}

var shown = map[*fdstest.Provider]int{}

// TestThePagesShowWhatIsTested holds the pages' Go against the files of tests, and of examples, each
// of which is run by one.
func TestThePagesShowWhatIsTested(t *testing.T) {
	tested := ""
	for _, pattern := range []string{"*_test.go", "../examples/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			tested += read(t, name)
		}
	}
	blocks := 0
	for name, page := range pages(t) {
		for _, block := range blocksOf(page, "go") {
			blocks++
			if !strings.Contains(tested, "\n"+block) {
				t.Errorf("%s shows Go that no test here has:\n%s", name, block)
			}
		}
	}
	if blocks < 3 {
		t.Errorf("the pages show %d blocks of Go", blocks)
	}
}

func blocksOf(page, language string) (blocks []string) {
	for _, m := range regexp.MustCompile("(?sm)^( *)```"+language+"\n(.*?)```").FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, strings.ReplaceAll("\n"+m[2], "\n"+m[1], "\n")[1:]) // of a list's entry, too
	}
	return blocks
}

// TestTheDemosDialectsAreTheOnesInGo: that the demo reads these files is tested there.
func TestTheDemosDialectsAreTheOnesInGo(t *testing.T) {
	blocks := blocksOf(read(t, "dialect.md"), "yaml")
	dialects := []fds.Dialect{cursors, pageNumbers, nextURLs}
	if len(blocks) != len(dialects) {
		t.Fatalf("the page has %d files for %d dialects", len(blocks), len(dialects))
	}
	for i, block := range blocks {
		var file struct {
			Provider struct{ Dialect map[string]any }
		}
		if err := yaml.Unmarshal([]byte(block), &file); err != nil {
			t.Fatal(err)
		}
		if want := keysOf(reflect.ValueOf(dialects[i])); !reflect.DeepEqual(file.Provider.Dialect, want) {
			t.Errorf("file %d of dialect.md has the dialect %v, and in Go it is %v", i+1, file.Provider.Dialect, want)
		}
	}
}

// keysOf returns what is set of a struct under its names in the demo's file.
func keysOf(v reflect.Value) map[string]any {
	keys := map[string]any{}
	for i := range v.NumField() {
		name := strings.NewReplacer("URLs", "Urls", "IDs", "Ids", "ID", "Id").Replace(v.Type().Field(i).Name)
		name = strings.TrimPrefix(strings.ToLower(regexp.MustCompile("[A-Z]").ReplaceAllString(name, "_$0")), "_")
		switch field := v.Field(i); {
		case field.IsZero():
		case field.Kind() == reflect.Struct:
			keys[name] = keysOf(field)
		default:
			keys[name] = field.Interface()
		}
	}
	return keys
}
