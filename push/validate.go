package push

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/hooks"
	"github.com/fds-sdk/fds-go/internal/proxy"
	"github.com/fds-sdk/fds-go/internal/tap"
)

// settings is a validated Config with its defaults filled in. Its Subscribed are the filters that
// the broker may know at this moment: for the run, or EndSession when there is none.
type settings struct {
	Config
	brokers []server // BrokerURL's and the fallbacks'
	allowed []string // in lower case: a host without brackets, or host:port
	filters []string // full, wanted

	everything bool // one of them is all there is
}

func (s *settings) owner() fds.OwnerKey {
	return fds.OwnerKey{Issuer: s.Issuer, SubscriptionID: s.Root.SubscriptionID()}
}

// server is where a broker listens.
type server struct {
	host    string // for the TLS server name
	address string // host:port
	path    string // of the WebSocket; empty: MQTT directly on TLS
	via     string // the proxy's host:port; empty: none, or not dialled yet
}

const (
	minPacketSize = 1 << 10
	maxPacketSize = 268_435_455 + 5 // MQTT 5.0 section 1.5.5: the longest packet there is
	maxKeepAlive  = 65535 * time.Second
	maxExpiry     = (1<<32 - 2) * time.Second // 2^32-1 would mean never
)

// validate fills in defaults and returns all faults at once.
func (c Config) validate() (settings, error) {
	s := settings{Config: c}
	s.Subscribed = slices.Clone(c.Subscribed)
	var faults fds.ConfigError

	if c.Root.SubscriptionID().IsZero() {
		faults.Add("Root", "make it with fds.ParseRoot", "has no subscription ID")
	}
	for i, text := range append([]string{c.BrokerURL}, c.Fallbacks...) {
		broker, problem, remedy := parseBrokerURL(text)
		if problem != "" {
			faults.Add([]string{"BrokerURL", "Fallbacks"}[min(i, 1)], remedy, "%s", problem)
		}
		s.brokers = append(s.brokers, broker)
	}
	for _, allowed := range c.AllowedServers {
		to, ok := parseServer(allowed)
		if !ok {
			faults.Add("AllowedServers", "", "holds %q, which is neither a host nor host:port", cut(allowed))
		}
		if _, _, err := net.SplitHostPort(allowed); err != nil { // no port: any will do
			to.address = to.host
		}
		s.allowed = append(s.allowed, to.address)
	}
	if c.Certificate == nil {
		faults.Add("Certificate", "a broker identifies an owner by its client certificate (M2)", "is missing")
	}

	if len(s.Topics) == 0 {
		s.Topics = []string{"#"}
	}
	if !c.Root.SubscriptionID().IsZero() {
		for _, below := range s.Topics {
			filter, err := c.Root.Filter(below)
			if err != nil {
				faults.Add("Topics", "", "cannot be subscribed to: %v", err)
				continue
			}
			s.filters = appendNew(s.filters, filter)
			s.everything = s.everything || below == "#"
		}
		for _, filter := range c.Subscribed {
			if prefix := c.Root.String(); len(filter) <= len(prefix) || !strings.EqualFold(filter[:len(prefix)], prefix) {
				faults.Add("Subscribed", "", "holds %q, which is not below %s: it was stored for another owner", cut(filter), prefix)
			}
		}
	}

	duration := func(name string, value *time.Duration, standard, least, most time.Duration) {
		switch {
		case *value == 0:
			*value = standard
		case *value < least || *value > most:
			faults.Add(name, fmt.Sprintf("it must lie between %v and %v", least, most), "is %v", *value)
		}
	}
	const day = 24 * time.Hour
	duration("SessionExpiry", &s.SessionExpiry, day, time.Second, maxExpiry)
	duration("KeepAlive", &s.KeepAlive, time.Minute, time.Second, maxKeepAlive)
	duration("ConnectTimeout", &s.ConnectTimeout, 30*time.Second, time.Millisecond, day)
	duration("WriteTimeout", &s.WriteTimeout, 10*time.Second, time.Millisecond, day)
	duration("DrainTimeout", &s.DrainTimeout, 10*time.Second, time.Millisecond, day)
	duration("CertificateCheck", &s.CertificateCheck, 30*time.Second, time.Millisecond, day)
	duration("SlowHandler", &s.SlowHandler, time.Minute, time.Millisecond, day)
	if s.TakenOverRetry != 0 {
		duration("TakenOverRetry", &s.TakenOverRetry, 0, time.Minute, 30*day)
	}
	switch {
	case s.MaxAttempts < 0:
		faults.Add("MaxAttempts", "it must be positive, or 0 for no limit", "is %d", s.MaxAttempts)
	case s.MaxAttempts > 0 && s.DeadLetter == nil:
		faults.Add("MaxAttempts", "a message that is given up must have a place to go", "needs a function for dead letters").Other = "DeadLetter"
	}
	spacing := func(name string, b *Backoff) {
		duration(name+".Initial", &b.Initial, time.Second, time.Millisecond, day)
		duration(name+".Max", &b.Max, max(2*time.Minute, b.Initial), time.Millisecond, day)
		duration(name+".StableAfter", &b.StableAfter, time.Minute, time.Millisecond, day)
		duration(name+".Slow", &b.Slow, 5*time.Minute, time.Millisecond, day)
		if b.Initial > b.Max {
			faults.Add(name+".Initial", "", "is %v, longer than the longest delay, %v", b.Initial, b.Max)
		}
	}
	spacing("Backoff", &s.Backoff)
	spacing("HandlerBackoff", &s.HandlerBackoff)

	if s.ReceiveMaximum == 0 {
		s.ReceiveMaximum = 32
	}
	switch {
	case s.MaxPacketSize == 0:
		s.MaxPacketSize = 1 << 20
	case s.MaxPacketSize < minPacketSize || s.MaxPacketSize > maxPacketSize:
		faults.Add("MaxPacketSize", fmt.Sprintf("it must lie between %d and %d bytes", minPacketSize, maxPacketSize), "is %d", s.MaxPacketSize)
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.Budget == nil {
		s.Budget = NewBudget(0)
	}
	if err := proxy.Check(c.Proxy); err != nil {
		faults.Add("Proxy", "", "cannot be used: %v", err)
	}
	if c.Dialect != nil {
		for _, fault := range c.Dialect.Faults() {
			fault.Field = "Dialect." + fault.Field
			if fault.Other != "" {
				fault.Other = "Dialect." + fault.Other
			}
			faults.Faults = append(faults.Faults, fault)
		}
	}
	for _, protocol := range c.ALPN {
		if protocol == "" || len(protocol) > 255 {
			faults.Add("ALPN", "it must have 1 to 255", "holds a name of %d bytes", len(protocol))
		}
	}
	for i, hook := range c.Hooks {
		if problem := hooks.Fault(hook, hookTypes); problem != "" && !tap.Is(hook) {
			faults.Add(fmt.Sprintf("Hooks[%d]", i), "", "%s", problem)
		}
	}
	return s, faults.Err()
}

// parseBrokerURL never repeats the URL, which may hold a password.
func parseBrokerURL(text string) (broker server, problem, remedy string) {
	const write = "write mqtts://host:8883"
	if text == "" {
		return server{}, "is missing", write
	}
	u, err := url.Parse(text)
	if err != nil {
		return server{}, "is not a URL", write
	}
	port, path := "8883", ""
	switch u.Scheme {
	case "mqtts":
		if u.Path != "" && u.Path != "/" {
			return server{}, "may hold host and port only", ""
		}
	case "wss":
		port, path = "443", cmp.Or(u.Path, "/mqtt")
	case "mqtt", "tcp", "http", "ws":
		return server{}, "begins with " + u.Scheme + "://, which has no TLS, as FDS demands (M1)", write
	default:
		return server{}, "has another scheme than mqtts, MQTT over TLS, or wss", write
	}
	port = cmp.Or(u.Port(), port)
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case u.Hostname() == "":
		return server{}, "names no host", write
	case err != nil || number == 0:
		return server{}, fmt.Sprintf("has the port %q, which is not a number between 1 and 65535", cut(port)), ""
	case u.User != nil:
		return server{}, "holds a user name or password", "FDS brokers identify clients by certificate (M2)"
	case u.RawQuery != "", u.Fragment != "", u.Opaque != "", u.ForceQuery:
		return server{}, "may hold host and port only", ""
	}
	return server{host: u.Hostname(), address: net.JoinHostPort(u.Hostname(), port), path: path}, "", ""
}

// appendNew appends those of more that list does not hold yet.
func appendNew(list []string, more ...string) []string {
next:
	for _, s := range more {
		for _, known := range list {
			if s == known {
				continue next
			}
		}
		list = append(list, s)
	}
	return list
}
