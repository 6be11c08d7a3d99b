package conformance

import "context"

// runBrokerChecks are those of M8: the application runs the broker.
func runBrokerChecks() []*check {
	return []*check{{
		id: "M8-folder", requirement: "M8", duty: OfApplication, needs: []need{needBroker},
		rule:       "Where the application runs the broker, its access rules, rights, certificates and client IDs are set as M2 and M4 to M7 ask.",
		remedy:     "Have fdsdemo broker-config, or package brokerconfig, write the broker's folder anew.",
		weaknesses: []string{"CWE-1188", "API8:2023"},
		probe:      (*run).probeFolder,
	}}
}

func (r *run) probeFolder(_ context.Context, t *trial) {
	if r.config.BrokerFolder == "" {
		t.notApplicable("the broker is not run by this application, as far as the configuration says (Config.BrokerFolder)")
		return
	}
}
