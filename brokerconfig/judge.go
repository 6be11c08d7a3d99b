package brokerconfig

import (
	"fmt"
	"path/filepath"
	"strings"
)

// judge holds what Mosquitto reads against the rules of FDS.
type judge struct {
	fault func(field, remedy, format string, args ...any)
	file  func(name string) string // the full path of a file of the folder
}

// conf judges mosquitto.conf. A setting that it does not know is a fault: it may open what the
// others close.
func (j judge) conf(c *brokerConf) {
	for _, line := range c.hiding {
		j.fault(fmt.Sprintf("%s:%d", confName, line), "take it out", "has a NUL: Mosquitto does not read what follows (M1, M2, M4, M5, M6, M7)")
	}
	for _, s := range c.all {
		switch {
		case neutral[s.key], s.key == "listener", s.key == "acl_file":
		case s.key == "per_listener_settings":
			if s.isOn() {
				j.fault(s.where(), "leave it out", "has the ACL hold for some listeners alone (M5)")
			}
		case s.key == "allow_anonymous":
		case s.key == "include_dir":
			j.fault(s.where(), "put everything into this file", "leads to further settings, which nothing here looks at")
		case s.key == "mount_point":
			j.fault(s.where(), "take it out", "moves topics below others, past the ACL (M5)")
		case s.key == "psk_file", s.key == "psk_hint":
			j.fault(s.where(), "take it out", "lets in who has a key and no certificate (M2)")
		case s.key == "capath":
			j.fault(s.where(), "name one file as cafile", "lets in whom other authorities vouch for (M2)")
		case s.key == "protocol":
			if s.value != "mqtt" {
				j.fault(s.where(), "take it out", "has Mosquitto look at no revocation list there: who was revoked is let in (M2)")
			}
		case s.key == "use_subject_as_username":
			if s.isOn() {
				j.fault(s.where(), "take it out", "puts another name in the place of the common name (M4)")
			}
		case s.key == "ciphers", s.key == "ciphers_tls1.3":
			if upper := strings.ToUpper(s.value); strings.Contains(upper, "NULL") || strings.Contains(upper, "ADH") || strings.Contains(upper, "SECLEVEL=0") {
				j.fault(s.where(), "take it out", "allows connections that are not encrypted or not authenticated (M1)")
			}
		case judged[s.key]:
		default:
			j.fault(s.where(), "take it out, or judge it yourself", "is %.60q, of which nothing is known here: it may open what the rest closes", s.key)
		}
	}
	acl, ok := c.global["acl_file"]
	switch {
	case !ok:
		j.fault(confName, "write: acl_file "+j.file(aclName), "names no ACL: everybody reads and publishes everything (M5, M6, M7)")
	case !filepath.IsAbs(acl.value):
		j.fault(acl.where(), "write: acl_file "+j.file(aclName), "is no full path: where it leads depends on where Mosquitto is started")
	}
	if s := c.global["allow_anonymous"]; s.isOn() {
		j.fault(s.where(), "write: allow_anonymous false", "lets in who has no name (M2)")
	}
	if len(c.listeners) == 0 {
		j.fault(confName, "remove it, and "+again, "has no listener: Mosquitto then listens on port 1883 of this machine, without TLS (M1)")
	}
	for _, l := range c.listeners {
		j.listener(l)
	}
}

// judged are settings of a listener that listener looks at.
var judged = setOf([]string{"bind_address", "cafile", "certfile", "keyfile", "crlfile", "require_certificate", "tls_version", "use_identity_as_username", "use_username_as_clientid"})

func (j judge) listener(l listener) {
	where := fmt.Sprintf("%s:%d", confName, l.line)
	on := func(key, problem string) {
		if s, ok := l.settings[key]; !ok {
			j.fault(where, "write below it: "+key+" true", "is a listener without %s: %s", key, problem)
		} else if !s.isOn() {
			j.fault(s.where(), "write: "+key+" true", "switches %s off: %s", key, problem)
		}
	}
	named := func(key, file, problem string) {
		if s, ok := l.settings[key]; !ok {
			j.fault(where, "write below it: "+key+" "+j.file(file), "is a listener without %s: %s", key, problem)
		} else if !filepath.IsAbs(s.value) {
			j.fault(s.where(), "write: "+key+" "+j.file(file), "is no full path: where it leads depends on where Mosquitto is started")
		}
	}
	if l.settings["certfile"].value == "" && l.settings["cafile"].value == "" {
		j.fault(where, "take it out, or give it all that the other one has", "is a listener without TLS (M1)")
		return
	}
	named("certfile", serverName, "it speaks no TLS (M1)")
	named("keyfile", serverName, "it speaks no TLS (M1)")
	named("cafile", caName, "nobody's certificate can be looked at (M2)")
	named("crlfile", crlName, "who was revoked is let in (M2)")
	on("require_certificate", "who has no certificate is let in (M2)")
	on("use_identity_as_username", "the ACL does not know who a client is (M5)")
	on("use_username_as_clientid", "a client can take another's client ID and throw it off (M4)")
	if s := l.settings["tls_version"]; s.value != "tlsv1.2" && s.value != "tlsv1.3" {
		at := s.where()
		if s.key == "" {
			at = where
		}
		j.fault(at, "write: tls_version tlsv1.2", "does not see to TLS 1.2 at the least (M1)")
	}
}

// acl judges an ACL by what the record says.
func (j judge) acl(field string, a *accessList, r *record) {
	for line := range a.lines {
		if why, ok := a.faulty[line]; ok {
			j.fault(fmt.Sprintf("%s:%d", field, line+1), "mend it; until then restart, never reload: at SIGHUP Mosquitto would let everybody do everything", "%s (M5, M6, M7)", why)
		}
	}
	publishers := r.publishers()
	missing := make(map[string]map[string]bool, len(publishers))
	for name, owners := range publishers {
		missing[name] = map[string]bool{}
		for _, owner := range owners {
			missing[name][treeOf(owner)] = true
		}
	}
	allowed := make(map[string]map[string]bool, len(publishers))
	for name, owners := range publishers {
		allowed[name] = setOf(owners)
	}
	readsOwn, shut := false, map[string]bool{}
	for _, rule := range a.rules {
		where := fmt.Sprintf("%s:%d", field, rule.line+1)
		readsOwn = readsOwn || rule.readsOwn()
		if rule.access == deny {
			if rule.topic == everything && rule.named {
				shut[rule.user] = true
			}
			continue
		}
		if rule.access&read != 0 {
			j.reading(where, rule, r)
		}
		if rule.access&write != 0 {
			j.writing(where, rule, r, allowed)
			if rule.named {
				delete(missing[rule.user], rule.topic)
			}
		}
	}
	if !readsOwn {
		j.fault(field, again, "has no rule by which owners read their own topics")
	}
	for _, provider := range r.providers() {
		for _, name := range r.connections(provider) {
			if n := len(missing[name]); n > 0 {
				j.fault(field, again, "does not let %s publish to %d of its owners", name, n)
			}
		}
	}
	for _, owner := range r.shutOut() {
		if !shut[owner] {
			j.fault(field, again, "does not shut %s out, who was revoked: connections that are up go on reading (M5)", owner)
		}
	}
}

func (j judge) reading(where string, rule rule, r *record) {
	switch {
	case rule.pattern:
		// With the common name as client ID both are the same.
		below, ok := strings.CutPrefix(rule.topic, "fds/v2/%u/")
		if !ok {
			below, ok = strings.CutPrefix(rule.topic, "fds/v2/%c/")
		}
		if !ok || strings.Contains(below, "%") {
			j.fault(where, "take it out", "lets everybody read %.100q, beyond their own topics (M5)", rule.topic)
		}
	case !rule.named:
		j.fault(where, "take it out", "stands above the first user: it is for clients without a name, who may do nothing (M2)")
	case isOwner(rule.user):
		if owner, ok := ownerOf(rule.topic); !ok || owner != rule.user {
			j.fault(where, "take it out", "lets %s read %.100q, beyond its own topics (M5)", rule.user, rule.topic)
		} else if c := r.Clients[rule.user]; c != nil && c.Revoked != nil {
			j.fault(where, "take it out", "is of %s, who was revoked", rule.user)
		}
	default:
		j.fault(where, "take it out, or write it as: topic write", "lets %.60q read %.100q, and only owners read (M5)", rule.user, rule.topic)
	}
}

func (j judge) writing(where string, rule rule, r *record, allowed map[string]map[string]bool) {
	switch {
	case rule.pattern:
		j.fault(where, "write it as: pattern read", "lets owners publish to %.100q (M6, M7)", rule.topic)
	case !rule.named:
		j.fault(where, "take it out", "stands above the first user: it is for clients without a name, who may do nothing (M2)")
	case isOwner(rule.user):
		j.fault(where, "take it out", "lets owner %s publish (M7)", rule.user)
	case allowed[rule.user] == nil:
		j.fault(where, "take it out", "lets %.60q publish, who is no connection of a provider or was revoked (M6)", rule.user)
	default:
		if owner, ok := ownerOf(rule.topic); !ok || !allowed[rule.user][owner] {
			j.fault(where, "take it out", "lets %s publish to %.100q, beyond its owners (M6)", rule.user, rule.topic)
		}
	}
}
