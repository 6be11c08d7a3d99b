package brokerconfig_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/fds"
)

// A folder for one owner and a provider that opens two connections. Of an fdsclient.Client the
// owners are those of Client.Owners, each by its method Root.
func Example() {
	temp, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(temp)
	owner, err := fds.ParseRoot("1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01")
	if err != nil {
		log.Fatal(err)
	}

	result, err := brokerconfig.Write(context.Background(), brokerconfig.Config{
		Dir:        filepath.Join(temp, "broker"),
		Owners:     []fds.Root{owner},
		Providers:  []brokerconfig.Provider{{Name: "soap-inc", Connections: 2}},
		Hosts:      []string{"broker.example.com"},
		Passphrase: fds.NewSecret("from a secret manager"),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, entry := range result.Entries {
		fmt.Println(entry.Outcome, entry.File)
	}

	// Later, without the passphrase: is all as it should be?
	state, err := brokerconfig.Inspect(filepath.Join(temp, "broker"), time.Now())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(state.Faults), "faults, listening on", state.Ports)
	// Output:
	// made ca.pem
	// made server.pem
	// made crl.pem
	// made owners/1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01.pem
	// made providers/soap-inc-1.pem
	// made providers/soap-inc-2.pem
	// 0 faults, listening on [8883]
}
