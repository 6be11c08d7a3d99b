package brokerconfig

import (
	"cmp"
	"fmt"
	"os/user"
	"runtime"
	"strconv"
	"strings"
)

// configuration returns what mosquitto.conf says at first.
func (f *folder) configuration(port int) []byte {
	runAs := ""
	if self, err := user.Current(); err == nil && runtime.GOOS != "windows" && !strings.ContainsAny(self.Username, " \t\n\r") {
		runAs = "\n# Of whom the files are. Started by root, Mosquitto becomes this user before it reads them.\nuser " + self.Username + "\n"
	}
	return []byte(strings.NewReplacer("{user}", runAs, "{dir}", f.path, "{port}", strconv.Itoa(port)).Replace(confText))
}

// Mosquitto takes the rest of a line for the value: nothing stands behind one.
const confText = `# Mosquitto as a broker of the Facility Data Standard that the application runs (M8). broker-config has
# written this file once and does not write it again: change what you need. It says at each run what
# no longer holds. Paths are full ones, since Mosquitto takes others from where it is started.
{user}
# One ACL for all listeners; nobody without a name.
per_listener_settings false
allow_anonymous false
allow_zero_length_clientid false
acl_file {dir}/acl

# Sessions and the messages queued for owners who are away survive a restart, and of a crash all but
# the last minute.
persistence true
persistence_location {dir}/data/
autosave_interval 60

# An owner who is away for longer begins anew, and reads from the Web API what it has missed. Without
# this, sessions of owners who never come back are kept for ever.
persistent_client_expiration 14d

# What one owner who is away can take of this machine's memory: about a day of messages, and 16 MiB.
# What is beyond is dropped.
max_queued_messages 10000
max_queued_bytes 16777216
queue_qos0_messages false

# The SDK takes packets of up to 1 MiB; a larger one would be dropped without a word. It bounds what a
# provider can make this broker hold, too.
max_packet_size 1048576

# A connection that is dead is noticed within a quarter of an hour, whatever its client asks for.
max_keepalive 600

# Nobody may read statistics here.
sys_interval 0

# Small messages go out at once.
set_tcp_nodelay true

# Who connects, and why someone is refused; never what is published.
log_dest stderr
log_timestamp_format %Y-%m-%dT%H:%M:%S
log_type error
log_type warning
log_type notice
log_type information

# The one listener. What stands below it is read at the start alone, but for the files' contents.
listener {port}

# TLS 1.2 at the least (M1); 1.3 is spoken with who can.
tls_version tlsv1.2
certfile {dir}/server.pem
keyfile {dir}/server.pem

# Only who has a certificate of this authority comes in (M2), and nobody whose certificate was revoked.
# An expired list has Mosquitto refuse everybody.
cafile {dir}/ca.pem
crlfile {dir}/crl.pem
require_certificate true

# The certificate's common name is the user name, and the client ID whatever the client says (M4).
# With the first alone a client could throw another off by giving that one's client ID.
use_identity_as_username true
use_username_as_clientid true
`

const unitText = `[Unit]
Description=MQTT broker for FDS
After=network-online.target
Wants=network-online.target

[Service]
User={user}
ExecStart=/usr/sbin/mosquitto -c {quoted}/mosquitto.conf
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
LimitNOFILE=20000
NoNewPrivileges=true
ProtectSystem=true
PrivateTmp=true

[Install]
WantedBy=multi-user.target
`

// instructions returns what README.txt says.
func (f *folder) instructions(own bool) []byte {
	name := "the user of this folder"
	if self, err := user.Current(); err == nil {
		name = self.Username
	}
	key := "ca.key.age is the authority's key, under your passphrase. Keep a copy of it, and of issued.json, elsewhere;\nthe broker needs neither. Without the passphrase no certificate can be issued, renewed or revoked.\n"
	authority, files := "--passphrase-file FILE", "FILE has the passphrase of the authority's key"
	if !own {
		authority, files = "--ca-file FILE --ca-key-file KEY", "FILE and KEY are those of your authority"
		key = "The authority is your own. Whoever has a certificate of it, for whatever purpose, is let in under the\ncertificate's common name: use it for this broker alone. Keep a copy of issued.json elsewhere.\n"
	}
	unit := strings.NewReplacer("{user}", name, "{quoted}", systemdPath(f.path)).Replace(unitText)
	return []byte(strings.NewReplacer("{conf}", "'"+strings.ReplaceAll(f.file(confName), "'", `'\''`)+"'", "{unit}", indented(unit), "{key}", key, "{authority}", authority, "{files}", files).Replace(readmeText))
}

func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// systemdPath writes a path for a command line of systemd.
func systemdPath(path string) string {
	return strings.NewReplacer("%", "%%", "$", "$$", `\`, `\\`, " ", `\x20`, `"`, `\"`, "'", `\'`).Replace(path)
}

const readmeText = `A Mosquitto broker for the Facility Data Standard
=================================================

Start it
--------

    mosquitto -c {conf}

as the user to whom this folder belongs: nobody else can read it. As a service, write this to
/etc/systemd/system/fds-broker.service and run: systemctl enable --now fds-broker

{unit}
Bring it up to date
-------------------

Run fdsdemo broker-config (or call brokerconfig.Write) again with this folder: after an owner has signed
in, and once a month, so that certificates and the revocation list are renewed long before they expire.
An expired revocation list has Mosquitto refuse everybody. If it says that all is well and asks for it,
have Mosquitto read its files anew:

    systemctl reload fds-broker        (or: kill -HUP, with Mosquitto's process ID)

What that does, measured with Mosquitto 2.0.11:

    acl             taken up at once, also for connections that are up
    crl.pem         from the next connect on; connections that are up stay, but acl has taken everything
                    from them
    server.pem      shown from the next connect on
    ca.pem          from the next connect on
    mosquitto.conf  what stands above the listener; for the rest restart: systemctl restart fds-broker

Never reload after an edit by hand that broker-config has not looked at. When Mosquitto cannot read a line
of acl at a reload, or acl is missing, it lets everybody read and write everything; when crl.pem is missing,
it lets in who was revoked. At a start it refuses to run instead.

Hand out
--------

To the application, on this machine or by a safe way: ca.pem and owners/. The files of owners are read anew
when they change. To each provider, by a safe way: ca.pem and its files in providers/, one for each
connection that it opens at the same time. Two connections with one certificate throw each other off.
A provider publishes below fds/v2/<subscription ID>/, with the ID spelt as it stands in acl.

When a key has got into the wrong hands, revoke, and reload:

    fdsdemo broker-config --dir DIR {authority} --revoke NAME

DIR is this folder, {files}, and NAME is a subscription ID,
a provider, or one connection as NAME-1. With --reissue NAME it gets a new certificate; then restart in place
of the reload: systemctl restart fds-broker. A thief who is connected would go on under the name that may do
something again.

Try it
------

Publish as a provider, with the ID as it stands in acl, and see it in fdsdemo watch:

    mosquitto_pub -V 5 -h HOST -p PORT --cafile ca.pem --cert providers/NAME-1.pem --key providers/NAME-1.pem \
      -t fds/v2/SUBSCRIPTION_ID/test -m '{}' -q 1

Keep
----

{key}`

// settings that say nothing about who may do what.
var neutral = setOf(strings.Fields(`
	allow_zero_length_clientid allow_duplicate_messages auto_id_prefix autosave_interval autosave_on_changes
	bind_interface check_retain_source clientid_prefixes connection_messages dhparamfile
	log_dest log_facility log_timestamp log_timestamp_format log_type
	max_connections max_inflight_bytes max_inflight_messages max_keepalive max_packet_size max_qos
	max_queued_bytes max_queued_messages max_topic_alias memory_limit message_size_limit
	password_file persistence persistence_file persistence_location persistent_client_expiration pid_file
	port queue_qos0_messages retain_available retained_persistence retry_interval set_tcp_nodelay
	socket_domain store_clean_interval sys_interval tls_keyform upgrade_outgoing_qos user
	websockets_headers_size websockets_log_level`))

// ofListener are the settings of a listener. Above the first one they make a listener of their own,
// on port 1883.
var ofListener = setOf(strings.Fields(`
	bind_interface cafile capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile http_dir keyfile
	max_connections max_qos max_topic_alias mount_point protocol psk_hint require_certificate socket_domain
	tls_engine tls_keyform tls_version use_identity_as_username use_subject_as_username use_username_as_clientid`))

// setting is a line of mosquitto.conf, read as Mosquitto does.
type setting struct {
	line  int // from 1
	key   string
	value string
}

// listener is one of mosquitto.conf.
type listener struct {
	line     int
	port     string
	settings map[string]setting // the last of each name
}

// brokerConf is a mosquitto.conf.
type brokerConf struct {
	all       []setting
	global    map[string]setting
	listeners []listener
	hiding    []int // lines with a NUL, which hides all that follows
}

// parseConf reads a mosquitto.conf.
func parseConf(data []byte) *brokerConf {
	c := &brokerConf{global: map[string]setting{}}
	first := listener{port: "1883", settings: map[string]setting{}}
	at := &first
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if strings.ContainsRune(line, 0) {
			c.hiding = append(c.hiding, number)
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		key, value := cutSpace(strings.TrimRight(line, "\r\n"))
		if key == "" {
			continue
		}
		s := setting{number, key, strings.Trim(value, space)}
		c.all = append(c.all, s)
		switch {
		case key == "listener":
			port, _ := cutSpace(s.value)
			c.listeners = append(c.listeners, listener{number, port, map[string]setting{}})
			at = &c.listeners[len(c.listeners)-1]
		case key == "port" || key == "bind_address": // of the default listener, wherever it stands
			first.settings[key] = s
			first.line = cmp.Or(first.line, number)
			if key == "port" {
				first.port = s.value
			}
		case ofListener[key]:
			at.settings[key] = s
			if at == &first {
				first.line = cmp.Or(first.line, number)
			}
		default:
			c.global[key] = s
		}
	}
	if len(first.settings) > 0 {
		c.listeners = append([]listener{first}, c.listeners...)
	}
	return c
}

// isOn reports what a setting says, as Mosquitto reads it: true and 1.
func (s setting) isOn() bool {
	word, _ := cutSpace(s.value)
	return word == "true" || word == "1"
}

func (s setting) where() string { return fmt.Sprintf("%s:%d", confName, s.line) }
