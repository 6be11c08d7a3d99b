// Package rawmqtt speaks MQTT 5.0 for checks of a broker. Unlike package push it can publish, can
// connect under any client ID, and acknowledges nothing but what it is told to: what it receives
// of a session stays there for whom it is meant.
//
// A broker is not trusted with anything: its packets are bounded, singly and in all, and what
// cannot be read ends the connection. Every call takes a context and ends with it.
package rawmqtt
