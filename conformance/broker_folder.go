package conformance

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/fds"
)

// runBrokerChecks are those of M8: the application runs the broker, and its folder is looked at.
func runBrokerChecks() []*check {
	row := func(id, rule string, weaknesses []string, of ...string) *check {
		return &check{
			id: id, requirement: "M8", duty: OfApplication, needs: []need{needBroker, needBrokerFolder}, rule: rule,
			remedy:     "Run fdsdemo broker-config again, or brokerconfig.Write, and take out what was added by hand.",
			weaknesses: weaknesses,
			probe:      func(r *run, _ context.Context, t *trial) { r.probeFolder(t, of...) },
		}
	}
	return []*check{
		row("M8-folder", "The folder of the broker is whole: nothing of it is missing, has expired, or can be read or changed by others.", []string{"CWE-732", "CWE-298"}, ""),
		row("M8-tls", "The broker is configured to speak TLS 1.2 or newer, and nothing without TLS.", []string{"CWE-319", "API8:2023"}, "M1"),
		row("M8-certificates", "The broker is configured to let in who has a certificate of its own authority that was not revoked, and nobody else.", []string{"CWE-306", "CWE-295", "API2:2023"}, "M2"),
		row("M8-client-id", "The broker is configured to take the client ID from the certificate.", []string{"CWE-287", "API2:2023"}, "M3", "M4"),
		row("M8-access-list", "The access list lets an owner read below its own root and nowhere else, and a provider read nothing.", []string{"CWE-863", "API1:2023"}, "M5"),
		row("M8-publishing", "The access list lets a provider publish to its owners, and owners publish nothing.", []string{"CWE-863", "API5:2023"}, "M6", "M7"),
	}
}

// needBrokerFolder: the application runs the broker.
func needBrokerFolder(r *run) (Outcome, string) {
	if r.config.BrokerFolder == "" {
		return NotApplicable, "the broker is not run by this application, as far as the configuration says (Config.BrokerFolder)"
	}
	return "", ""
}

// broken are the requirements that a problem of brokerconfig's ends with.
var broken = regexp.MustCompile(`\((M[1-8](?:, M[1-8])*)\)$`)

// requirementsOf returns which requirements a fault of the folder breaks; "" stands for the folder
// itself.
func requirementsOf(f fds.Fault) (all []string) {
	found := broken.FindStringSubmatch(f.Problem)
	if found != nil {
		all = strings.Split(found[1], ", ")
	}
	if found == nil || strings.HasPrefix(f.Problem, "is missing") {
		all = append(all, "")
	}
	return all
}

// mostFaults bounds the faults that a row shows.
const mostFaults = 20

// probeFolder looks for what breaks these requirements in the folder.
func (r *run) probeFolder(t *trial, of ...string) {
	tried := "read the folder of the broker"
	state, err := brokerconfig.Inspect(r.config.BrokerFolder, time.Now())
	if err != nil {
		t.saw(tried, "%v", err)
		t.error("the folder of the broker cannot be read (Config.BrokerFolder): %v", err)
		return
	}
	found := slices.DeleteFunc(state.Faults, func(f fds.Fault) bool {
		return !slices.ContainsFunc(requirementsOf(f), func(m string) bool { return slices.Contains(of, m) })
	})
	if len(found) == 0 {
		t.saw(tried, "%d certificates and lists, and nothing against this", len(state.Entries))
		t.pass()
		return
	}
	for _, f := range found[:min(len(found), mostFaults)] {
		t.saw(tried, "%s", f)
	}
	t.fail("%s %s", found[0].Field, found[0].Problem)
	if found[0].Remedy != "" {
		t.remedy = found[0].Field + ": " + found[0].Remedy + "."
	}
}
