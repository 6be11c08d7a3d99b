package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
)

// whose says whose a list is: one owner's, or that of all owners of a grant, of whom
// nobody can tell which one an item belongs to.
type whose struct {
	owner   *fdsclient.Owner
	grant   bool
	holders holders // of the grant, as they were when it began
	failed  error   // why they are not known
}

// holders are the owners whose data a grant reads.
type holders struct {
	owners []fds.SubscriptionID // who signed in together
	others []fds.SubscriptionID // who are signed out here
}

func holdersOf(g fdsclient.GrantInfo) holders { return holders{g.Owners, g.Others} }

// lists says of whom there are lists to read: each owner, or each grant once.
func lists(ctx context.Context, owners []*fdsclient.Owner, byGrant bool) []*whose {
	var all []*whose
	covered := make(map[fds.SubscriptionID]bool)
	for _, o := range owners {
		w := &whose{owner: o, grant: byGrant}
		if covered[o.Key().SubscriptionID] {
			continue
		}
		if byGrant {
			grant, err := o.Grant(ctx)
			w.holders, w.failed = holdersOf(grant), err
			for _, id := range grant.Owners {
				covered[id] = true
			}
		}
		all = append(all, w)
	}
	return all
}

// pull returns what reads the list.
func (w *whose) pull() *pull.Client {
	if w.grant {
		return w.owner.PullGrant()
	}
	return w.owner.Pull()
}

// now returns the holders of the grant, and who of them has left it since the list was
// begun: what was read meanwhile may be theirs.
func (w *whose) now(ctx context.Context) (holders, error) {
	grant, err := w.owner.Grant(ctx)
	if err != nil {
		return holders{}, err
	}
	h := holdersOf(grant)
	for _, id := range slices.Concat(w.holders.owners, w.holders.others) {
		if !slices.Contains(h.owners, id) && !slices.Contains(h.others, id) {
			h.others = append(h.others, id)
		}
	}
	return h, nil
}

// member begins a JSON object of what the list holds.
func (w *whose) member(ctx context.Context) (string, error) {
	report, err := w.report(ctx)
	if err != nil {
		return "", err
	}
	line, err := jsonLine(report)
	return strings.TrimSuffix(string(line), "}\n"), err
}

// whoseReport is how JSON of ours says whose something is.
type whoseReport struct {
	Owner  *fds.SubscriptionID  `json:"owner,omitempty"`  // of one owner's
	Owners []fds.SubscriptionID `json:"owners,omitempty"` // of a grant's: those who signed in together
	Others []fds.SubscriptionID `json:"others,omitempty"` // and those who are signed out, though the grant reads their data
	Issuer string               `json:"issuer"`
}

func (w *whose) report(ctx context.Context) (whoseReport, error) {
	key := w.owner.Key()
	if !w.grant {
		return whoseReport{Owner: &key.SubscriptionID, Issuer: key.Issuer}, nil
	}
	h, err := w.now(ctx)
	return whoseReport{Owners: h.owners, Others: h.others, Issuer: key.Issuer}, err
}

// heading says it to a person.
func (w *whose) heading(ctx context.Context) (string, error) {
	if !w.grant {
		return "Owner " + w.owner.Key().SubscriptionID.String(), nil
	}
	h, err := w.now(ctx)
	if err != nil {
		return "", err
	}
	text := "Grant of " + names(h.owners)
	if len(h.others) > 0 {
		text += ", which reads data of " + names(h.others) + " too"
	}
	return text, nil
}

const mostNames = 20

// names writes "A, B and C", of many the first ones.
func names(ids []fds.SubscriptionID) string {
	var list []string
	for _, id := range ids[:min(len(ids), mostNames)] {
		list = append(list, id.String())
	}
	if more := len(ids) - len(list); more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}
