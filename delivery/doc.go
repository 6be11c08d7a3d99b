// Package delivery has what an application is handed: a [Message], by a call of its [Handler].
// It is the same whichever way the message came: by an owner's push connection, fetched from the
// Web API after an outage, or polled. [Message.Source] tells.
//
// A handler returns nil when it is done with a message, which is then acknowledged. An error
// has the message come again, before any other of that owner.
package delivery
