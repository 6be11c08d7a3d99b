// Package push receives what an information provider publishes for one resource owner. A
// [Connection] is that owner's own MQTT v5 connection (M3). It stays up for months, hands every
// message to a handler, in order and one at a time, and acknowledges a message only when the
// handler has succeeded.
//
// Package fdsclient makes a connection for every owner who has signed in, and fetches what an
// outage has lost. Use this package directly to bring certificates and owners of your own: its
// example is a whole program.
//
// # What it promises
//
// A message of quality of service 1 that the broker has accepted for the owner is handed over
// until the handler returns nil: across errors, panics, lost connections and restarts of either
// side, as long as the broker keeps the session (Settings.SessionExpiry). It may be handed over
// more than once; Message.Duplicate marks that.
//
// Messages of quality of service 0 are dropped, counted and reported when the handler falls
// behind.
//
// What a broker itself drops, from a full queue or an expired session, no client can see. So
// each time that State reports Connected, assume that something was missed, and fetch it from
// the provider's Web API. Package fdsclient does.
//
// # What it never does
//
//   - It never publishes (M7): the wire refuses a PUBLISH.
//   - It never subscribes outside fds/v2/<subscription_id>/ (M5).
//   - It never hands over another owner's message.
//   - It never connects without a verified server certificate, TLS 1.2 or newer (M1), and a
//     client certificate (M2).
//   - It resumes no TLS session: a broker may not verify the client certificate again then, and a
//     revoked one would pass.
//
// # What waits in memory
//
// A connection reads ahead what the broker may send (Settings.ReceiveMaximum). What of it waits for
// a handler counts, topics and their levels included, and connections that share a [Budget] share
// a bound. Beyond it they are not read from until handlers have caught up, and stay up meanwhile.
// Each owner may always have one message.
//
// A thousand owners whose handlers block, sent ten messages of 64 KiB each, took 111 MiB with a
// budget of 64 MiB, of which one message an owner is 64 MiB.
//
// # When it gives up
//
// Problems of the network, the broker or a certificate are retried for as long as Run's context
// lives, spaced by Settings.Backoff, and shown by State.
//
// Run ends by itself only when waiting cannot help: when the broker says that another process has
// taken over the owner's connection (fds.ErrTakenOver). Where connections only end again and again
// soon after they came up, without a reason, that is suspected, and tried again rarely.
//
// A command that wants to give up after 30 seconds without a connection ends Run's context when
// State has not been Connected by then, and reports State's Err.
package push
