// Package broker is a small MQTT 5.0 broker for an information provider in a
// box. It runs inside a test process, takes thousands of subscribers, and can
// be told to fail in the ways that real brokers fail.
//
// It holds the rules that FDS sets for a broker: every connection is TLS and
// brings a client certificate (M1, M2); the client ID is the owner's
// subscription ID and equals the certificate's common name, byte for byte (M4);
// a subscriber sees nothing above or beside fds/v2/<its client ID>/ (M5); only
// the provider publishes, through Publish, PublishTo or a client that
// Config.Provider knows (M6), and what a subscriber publishes has no effect
// (M7).
//
// It speaks quality of service 0 and 1. Sessions live in memory until they
// expire; their queues have no limit unless a fault sets one. Each connection
// costs one goroutine while it is idle and a second while there is something to
// write, so one slow or dead subscriber never delays another and never blocks
// Publish.
//
// What it leaves out, and says so in CONNACK or by a reason code: quality of
// service 2, shared subscriptions, topic aliases, enhanced authentication, will
// messages (a subscriber must not publish, not even after its end), and
// assigned client IDs.
package broker
