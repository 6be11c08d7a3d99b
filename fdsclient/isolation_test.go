package fdsclient_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rooms are the packages out of which an application can take data, and others those that
// hold it, keep state, or are for tests.
var (
	rooms  = []string{"delivery", "fdsclient", "pull", "push", "webhook"}
	others = []string{"fds", "fdstest", "statestore", "statestore/statetest", "tokenstore", "tokenstore/storetest"}
)

// The tests that show of many ways that data is under no owner's name but its own.
var (
	inLists   = []string{"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners", "fdsclient.TestAttackPullHoldsNoOtherOwnersItems"}
	inTags    = []string{"pull.TestAttackATagOfNobodyKnowsWhomIsNeitherReadNorChanged", "fdsclient.TestAttackTagsOfOneOwnerAreNeitherReadNorChangedByAnother"}
	inChanges = append([]string{"pull.TestAttackEntitiesThatNameTheOwnerMayBeSetAndThoseOfAnotherNever"}, inTags...)
	inHandler = []string{
		"fdsclient.TestAttackABackfillHandsOverNoOtherOwnersItems", "fdsclient.TestAttackPollingHandsOverNoOtherOwnersItems", "fdsclient.TestAttackABrokerThatMixesOwnersUpHandsNothingOver",
		"fdsclient.TestAttackWhoseConsentIsWithdrawnGetsNoMoreMessages", "fdsclient.TestAttackWhoIsTakenOutOfAGrantGetsNoMoreMessages", "fdsclient.TestAttackWhoLeftInAnotherProcessGetsNoMoreMessages",
	}
	inFailing   = []string{"fdsclient.TestAttackWhatTheHandlerFailsOnStaysItsOwners"}
	inSelection = append([]string{"fdsclient.TestEachOwnerHasItsOwnTopicsAndHandler", "fdsclient.TestAFenceThatClosesAtWorkHandsTheMessageToTheNextReplica"}, inHandler...)
	inPush      = []string{"push.TestAttackAnotherOwnersMessageIsNeverHandedOver"}
	inWebhooks  = []string{"webhook.TestAttackNoDeliveryIsHandedOverUnderAnotherOwner", "fdsclient.TestAttackAWebhookMixesNoOwnersUp", "fdsclient.TestAttackAWebhookTakesNothingForWhoIsNotSignedInHere", "fdsclient.TestAttackAWebhookTakesNothingForWhoseConsentIsWithdrawn"}
	ofADelivery = []string{"webhook.TestAttackNothingOfADeliveryIsToldToLogHooksOrSender"}
	whoLeft     = []string{"fdsclient.TestAttackWhoSignedOutOfAJointGrantIsNotReadUnderAnother", "fdsclient.TestAttackWhomATokenReadsCountsAndNotWhatIsSaidOfIt"}
	ofTheGrant  = []string{"fdsclient.TestTheCallersOwnRequestsReadWhatTheGrantReads"}
	saysNothing = []string{"fdsclient.TestAttackNothingOfAnItemIsToldToWhoMayWatchAllOwners"}
	inErrors    = append([]string{"pull.TestAttackHostileAnswersAreErrorsThatShowNothingOfThem"}, saysNothing...)
)

// ways are all ways by which data could leave the SDK, each with the tests that show that
// it is under no owner's name but its own, or none at all.
var ways = map[string][]string{
	// Of one owner, with a token that may be that of several.
	"pull.Client.Specifications":      inLists,
	"pull.Client.Statuses":            inLists,
	"pull.Client.Statistics":          inLists,
	"pull.Client.Diagnostics":         inLists,
	"pull.Client.Spaces":              inLists,
	"pull.Client.Events":              inLists,
	"pull.Client.EventSpecifications": inLists,
	"pull.Client.Items":               inLists,
	"pull.Collect":                    inLists,
	"pull.New":                        append([]string{"pull.TestAttackWhoJoinsWhileAListIsReadEndsItsCertainty", "pull.TestAttackEveryRequestNamesTheOwnerWhereverItIsLed"}, inLists...),
	"pull.Client.Tags":                append([]string{"pull.TestAttackNoListHoldsWhatCouldBeAnotherOwners"}, inTags...),
	"pull.Client.Tag":                 inTags,
	"pull.Client.CreateTag":           inChanges,
	"pull.Client.SetEntities":         inChanges,
	"fdsclient.Owner.Pull":            append(whoLeft, inLists...),

	// To the handler, and what becomes of it there.
	"fdsclient.Client.Run":                  inHandler,
	"fdsclient.Client.RunOwners":            inHandler,
	"fdsclient.Delivery.Handler":            inSelection,
	"fdsclient.Selection.Stopped":           inSelection,
	"fdsclient.Owner.Condition":             inFailing,
	"fdsclient.Owner.Connection":            inFailing,
	"fdsclient.HookConnection.OnConnection": inFailing,
	"delivery.Batching.Handler":             {"fdsclient.TestAttackABatchAcrossOwnersMixesNobody", "fdsclient.TestAttackABatchOfAWebhookMixesNoOwnersUp"},
	"delivery.Message.Item":                 inHandler,
	"delivery.Message.In":                   append([]string{"delivery.TestAttackTwoOwnersNeverShareAKey"}, inHandler...),
	"fdsclient.Client.Webhook":              inWebhooks,
	"webhook.Config.Handler":                inWebhooks,
	"webhook.Config.DeadLetter":             inWebhooks,
	"push.Connection.Run":                   inPush,
	"push.Connection.Start":                 inPush,
	"push.Connection.State":                 append(inPush, inFailing...),
	"push.Settings.DeadLetter":              append(inPush, inFailing...),
	"push.Config.OnAcknowledged":            inPush,
	"push.Config.OnState":                   append(inPush, inFailing...),

	// Of the grant as a whole, as their documentation says.
	"fdsclient.Owner.PullGrant":    {"fdsclient.TestPullGrantReadsAllOwnersOfTheGrantAndNoOther"},
	"fdsclient.Owner.RoundTripper": ofTheGrant,
	"fdsclient.Owner.TokenSource":  ofTheGrant,
	"fdsclient.Owner.Token":        append([]string{"fdsclient.TestAttackAnOwnerWhoLeftASharedGrantGetsNoTokenOfIt"}, ofTheGrant...),
	"pull.Authorizer.Challenged":   {"pull.TestAttackNoAnswerKeepsWhatItsRequestHeld"}, // the caller's own credentials

	// What is told of items, printed and kept: nothing.
	"fdsclient.Config.Logger":                           saysNothing,
	"pull.Config.Logger":                                saysNothing,
	"push.Config.Logger":                                append(inPush, saysNothing...),
	"delivery.Message.LogValue":                         saysNothing,
	"delivery.Message.String":                           saysNothing,
	"fdsclient.Client.Format":                           saysNothing,
	"fdsclient.Client.String":                           saysNothing,
	"fdsclient.Owner.Format":                            saysNothing,
	"fdsclient.Owner.String":                            saysNothing,
	"pull.Client.Format":                                saysNothing,
	"pull.Client.String":                                saysNothing,
	"push.Connection.Format":                            saysNothing,
	"push.Connection.String":                            saysNothing,
	"fdsclient.HookCertificate.OnCertificate":           saysNothing,
	"fdsclient.HookGap.OnGap":                           saysNothing,
	"fdsclient.HookPoll.OnPoll":                         saysNothing,
	"fdsclient.HookRenewalFailing.OnRenewalFailing":     saysNothing,
	"fdsclient.HookRenewed.OnRenewed":                   saysNothing,
	"fdsclient.HookSignInNeeded.OnSignInNeeded":         saysNothing,
	"fdsclient.HookStoreUnavailable.OnStoreUnavailable": saysNothing,
	"push.HookConnect.OnConnect":                        saysNothing,
	"push.HookDiscarded.OnDiscarded":                    saysNothing,
	"push.HookHandled.OnHandled":                        saysNothing,
	"webhook.Config.Logger":                             ofADelivery,
	"webhook.HookAnswer.OnAnswer":                       ofADelivery,
	"webhook.HookHandled.OnHandled":                     ofADelivery,
	"webhook.Receiver.ServeHTTP":                        ofADelivery,
	"push.Config.BeforeMessages":                        saysNothing,
	"pull.Error":                                        inErrors,
	"push.ReasonError":                                  saysNothing,
	"push.TakenOverError":                               saysNothing,
	"statestore.Store.Save":                             {"fdsclient.TestAttackNothingOfAnItemIsStored"},
	"statestore.Store.Load":                             {"fdsclient.TestAttackNothingOfAnItemIsStored"},
}

// ofNoItem are ways by which something leaves the SDK that comes from no item.
var ofNoItem = map[string]string{
	"fdsclient.Attempt.Encode":      "a sign-in under way",
	"fdsclient.Attempt.MarshalJSON": "a sign-in under way",
	"fdsclient.Attempt.Format":      "a sign-in under way",
	"fdsclient.Attempt.LogValue":    "a sign-in under way",
	"fdsclient.Attempt.String":      "a sign-in under way",
	"fdsclient.OAuthError":          "an answer of the authorization server",
	"fdsclient.SignOutError":        "an answer of the authorization server, and the store",
	"fdsclient.Token.Format":        "a token",
	"fdsclient.Token.String":        "a token",
	"push.CertificateError":         "a certificate",
	"delivery.VerdictError":         "what the application's handler says",
	"delivery.Verdicts":             "what the application's handler says",
}

// TestEveryWayByWhichDataLeavesHasItsIsolationTest fails where the exported API has a way
// that nobody has thought of, or the table one that is gone.
func TestEveryWayByWhichDataLeavesHasItsIsolationTest(t *testing.T) {
	found := waysOut(exports(t, rooms), rooms)
	tests := make(map[string]map[string]bool)
	for _, way := range slices.Sorted(maps.Keys(found)) {
		if len(ways[way]) == 0 && ofNoItem[way] == "" {
			t.Errorf("%s lets data out (%s) and has no isolation test: add one, and name it in the table", way, found[way])
		}
		for _, name := range ways[way] {
			room, test, _ := strings.Cut(name, ".")
			if tests[room] == nil {
				tests[room] = testsIn(t, room)
			}
			if !tests[room][test] {
				t.Errorf("%s: there is no %s in %s", way, test, room)
			}
		}
	}
	for _, way := range slices.Concat(slices.Collect(maps.Keys(ways)), slices.Collect(maps.Keys(ofNoItem))) {
		if found[way] == "" {
			t.Errorf("%s is in the table, and lets no data out", way)
		}
	}
	known := slices.Concat(rooms, others)
	for path := range strings.FieldsSeq(goCommand(t, "list", "../...")) {
		name := strings.TrimPrefix(path, module)
		if name == strings.TrimSuffix(module, "/") {
			continue // tests alone
		}
		first, _, _ := strings.Cut(name, "/")
		if !slices.Contains(known, name) && !slices.Contains(strings.Split(name, "/"), "internal") && !slices.Contains([]string{"cmd", "examples", "benchmarks", "brokerconfig", "conformance", "docs"}, first) {
			t.Errorf("package %s is in neither list: can an application take data out of it?", name)
		}
	}
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsIn returns the tests in a folder of the module and those below it.
func testsIn(t *testing.T, room string) map[string]bool {
	t.Helper()
	tests := make(map[string]bool)
	err := filepath.WalkDir(filepath.Join("..", room), func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, found := range testFunc.FindAllSubmatch(data, -1) {
			tests[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
