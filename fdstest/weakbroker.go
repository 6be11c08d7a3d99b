package fdstest

import "github.com/fds-sdk/fds-go/fdstest/internal/broker"

// The faults of this file are rules that the broker does not keep, for whoever checks brokers. They
// concern all clients.

// OldBrokerTLS has the broker take TLS 1.0 and 1.1 besides newer ones (M1).
func OldBrokerTLS() Fault {
	return weakBroker("OldBrokerTLS", func(w *broker.Weaknesses) { w.OldTLS = true })
}

// NoClientCertificates has the broker take clients that show no certificate, under any
// subscription ID; a certificate that is shown is verified (M2).
func NoClientCertificates() Fault {
	return weakBroker("NoClientCertificates", func(w *broker.Weaknesses) { w.NoCertificate = true })
}

// AnyAuthority has the broker take client certificates whoever has signed them (M2).
func AnyAuthority() Fault {
	return weakBroker("AnyAuthority", func(w *broker.Weaknesses) { w.AnyAuthority = true })
}

// AnyClientID has the broker take any subscription ID as the client ID, whatever name is in the
// certificate, and go by that alone (M4).
func AnyClientID() Fault {
	return weakBroker("AnyClientID", func(w *broker.Weaknesses) { w.AnyClientID = true })
}

// NoAccessRules has the broker grant every subscription, shared ones too, and deliver by it (M5).
func NoAccessRules() Fault {
	return weakBroker("NoAccessRules", func(w *broker.Weaknesses) { w.NoRules = true })
}

// ProvidersSubscribe has the broker let those subscribe who only publish (M6).
func ProvidersSubscribe() Fault {
	return weakBroker("ProvidersSubscribe", func(w *broker.Weaknesses) { w.ProvidersSubscribe = true })
}

// SubscribersPublish has the broker let owners' clients publish below every owner's root (M7).
func SubscribersPublish() Fault {
	return weakBroker("SubscribersPublish", func(w *broker.Weaknesses) { w.SubscribersPublish = true })
}

func weakBroker(name string, change func(*broker.Weaknesses)) Fault {
	return inBroker(name, nil, func(f *broker.Faults) { change(&f.Weak) })
}
