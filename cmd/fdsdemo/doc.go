// Command fdsdemo shows the Facility Data Standard at work. Without arguments it
// gives a tour: it starts an information provider on this machine, signs in,
// lists devices and shows live messages. Its commands do the same with a real
// provider, as fdsdemo.yaml names it, and are made to be driven by scripts.
//
//	fdsdemo                          the tour; --browser, --duration, --plain; --version as the command version
//	fdsdemo init                     make a configuration: asks at a terminal for what the flags do not say, looks for the
//	                                 provider, and checks it; --issuer, --client-id, --api-url, --broker-url, --ca-file,
//	                                 --certificates, --store, --set KEY=VALUE for the rest, --force, --no-input,
//	                                 --no-discovery
//	fdsdemo provider --dir DIR       run the provider in a box; DIR/fdsdemo.yaml leads to it; started again it goes on;
//	                                 --port-base, --redirect-uri, --confidential, --every; --webhook URL sends what is
//	                                 published there too, --webhook-audience
//	fdsdemo login                    sign in through the browser; --no-browser, --paste, --device, --application;
//	                                 --approve plays the person, --owner whom for, at the box of fdsdemo provider alone;
//	                                 --redirect-uri prints what to register with the provider and signs nobody in
//	fdsdemo owners                   who is signed in, until when, with whom; open gaps
//	fdsdemo get specifications       read the Web API; --owner, --grant, --ids, --from, --to, --language, --output, --jq,
//	                                 --columns, --sort, --no-headers
//	fdsdemo spaces --tree            sites, buildings, floors and what is in them; --owner, --grant
//	fdsdemo tag list                 groups of devices and spaces; --owner, --grant
//	fdsdemo tag create FILE          make one of a JSON object; - is standard input; prints its ID; in place of FILE --name,
//	                                 --set; --entity
//	fdsdemo tag get ID               show one and its entities
//	fdsdemo tag set ID FILE          replace its entities by those in FILE, JSON; in place of FILE --entity
//	fdsdemo tag delete ID            delete it
//	fdsdemo watch                    live messages, or what polling finds; --owner, --topic, --type, --device, --severity show
//	                                 some of them, --count and --for end it; --output, --jq, --columns, --no-headers;
//	                                 --take-over, --poll takes nothing away; --plain
//	fdsdemo webhook                  messages that the provider delivers to this machine, as watch shows them; --listen,
//	                                 --output, --jq, --columns, --no-headers
//	fdsdemo logout OWNER             sign out
//	fdsdemo check                    hold provider, authorization server and broker to the rules of FDS; --owner,
//	                                 --spare-owner, --intrusive, --sign-in, --approve, --no-browser, --publisher,
//	                                 --broker-folder, --expired-token, --strict, --junit, --html
//	fdsdemo broker-config --dir DIR  a Mosquitto that this application runs: its configuration, and certificates for the stored
//	                                 owners and for providers; --host, --provider NAME:CONNECTIONS, --port, --passphrase-file,
//	                                 --ca-file, --ca-key-file, --revoke, --reissue, --owner
//	fdsdemo config show              what holds of each key, and which line it comes from; --output, --jq; a key or a section
//	                                 after it tells of that alone
//	fdsdemo config get pull.timeout  the value of a key, of a list each on a line
//	fdsdemo config set pull.max_pages 500
//	                                 set a key in the file, which keeps its comments and is checked first
//	fdsdemo config unset pull.max_pages
//	                                 take a key, or a section, out of the file
//	fdsdemo config path              where the configuration in use lies
//	fdsdemo config contexts          the configurations of this user, by name, and which one is in use
//	fdsdemo config use NAME          have that one be in use from now on
//	fdsdemo config reference         every key of the configuration file with type, default and meaning; --output, --jq; a key
//	                                 or a section after it tells of that alone
//	fdsdemo completion bash          a script by which a shell completes what is typed; zsh, fish, powershell
//	fdsdemo man DIR                  write the manual pages into DIR/man1 and DIR/man5
//	fdsdemo version                  which build this is
//
// Data goes to standard output, everything else to standard error. With --json
// standard output is JSON, one object a line, and what a provider
// sent is passed on as it was sent, without the white space between its tokens. Only
// U+0085, U+2028 and U+2029, where some readers end a line, are written as \u0085 and so
// on, and on a terminal everything that is not printable; it means the same.
// spaces --tree --json prints the place of each space instead: owner, issuer, id,
// type, listed, depth, parent, site, building and floor.
//
// --verbose logs everything that happens: requests, renewals, connects, subscriptions, messages,
// polls and gaps. --trace shows each HTTP request and MQTT packet on standard error, as curl -v
// and mosquitto_sub -d do: ">" is sent, "<" received, "*" about it, then the number of the request,
// or whose connection it is. Of what goes to and from the authorization server, and of all headers,
// it shows the values of names that are known to be harmless, and [redacted] in place of all others:
// tokens, codes, secrets and what nobody knows. Of items it shows the beginning, of messages topic
// and size. So what it shows may be given to whoever looks for a fault, as far as the owners' data may.
//
// With --json, or --output json, or --log-format json, standard error is JSON too, one object a
// line, with time, level (trace, debug, info, warn, error), msg, and what there is besides. The last
// one of a command that fails has level error and status, the exit status; one whose reader has gone
// away ends with status 1 and says nothing. --log-format text leaves
// it for a person's eyes.
//
// Lists, owners and tags are tables for a person's eyes, or by --output JSON, YAML with a
// document an item, or CSV (RFC 4180): there a column is a member, below the root with dots,
// null is nothing, and a list is JSON; texts are as the provider sent them, so open them in a
// spreadsheet as texts. --jq prints what a filter makes of each line of JSON, one at a time; it
// knows no environment and no files.
//
// On a terminal, owners, get, spaces and tag list show what they print by the command FDSDEMO_PAGER,
// or PAGER, or less; LESS is FRX and LV -c where they are not set, so that what fits on the screen
// stays there. --no-pager, an empty variable or cat prints all at once, and so do --verbose, --trace,
// TERM=dumb and, without a variable, Windows.
//
// An owner is named by its subscription ID, by the first four or more characters of it, or by
// the name that the configuration gives it below owners; --owner may be repeated where several can be
// meant. A time is how
// long ago it was, as 5m or 7d, a date, or one of RFC 3339. What watch does not show, by --topic
// and the like, it takes all the same; what comes after the last message that --count lets it
// show stays with the broker. What is fetched comes on no topic: --topic takes it for published
// as provider.dialect.event_topic and status_topic have it.
//
// On a terminal the tour and watch fill the screen: owners with their connection, grant,
// certificate and gaps, devices by place, events by severity, and messages. ? lists the keys: they
// filter, sort, pause, open a device's history and JSON, show one owner alone; q ends it. A message
// is acknowledged there once the view holds it, whether or not it is looked at: the newest 2,000
// messages and 1,000 events are kept, and of each device the newest 50. A terminal that takes no
// more output holds messages up, which then stay with the broker. Messages are lines, acknowledged
// once written, where standard input or output is no terminal, with TERM=dumb, --plain, --output,
// --json, --verbose or --trace, and where --count or --for ends watch. NO_COLOR leaves colours out,
// and a locale that is not UTF-8 all drawing but ASCII.
//
// Messages are lines, or with --output JSON, YAML, or CSV with the columns received_at, owner,
// topic, qos, retained, duplicate, source, kind, key, time, severity, code, device_id, device_type
// and payload; --columns chooses of these, and of payload.NAME, a member of the payload with dots
// below its root. A message of which --jq makes an error ends the command, and stays with the broker.
// A standard output that is closed (>&-) is to a program as /dev/null: what is written there is
// acknowledged, and nobody has seen it.
// A line says in parentheses what is not new: backlog, whose own time is before the command began,
// retained, again, which may have been shown before, backfill, and how long ago its own time is.
//
// --severity shows events of a severity and graver ones, as RFC 5424 orders them: emergency, alert,
// critical, error, warning, notice, informational, debug, and emerg, crit, err, warn and info. An
// event of another word is shown too, since nobody knows how grave that is; such a word shows
// itself alone. What has no severity is not shown. It needs provider.dialect.severity_member.
//
// What is shown of an owner is certainly that owner's. Owners who signed in together have
// one grant, which reads the data of all of them; provider.dialect.subscription_member or
// subscription_parameter then has to say how items name their owner. Without, login warns,
// get of one of them is status 2, and an item that names nobody is an error. With --grant
// all that the grant reads is shown under the names of all, with --json as
//
//	owners  the subscription IDs of those who signed in together
//	others  of those who are signed out here, though the grant reads their data; only then
//	issuer  the provider's
//	item    as sent; with spaces --tree the members of above instead
//
// Tables show the first 10,000 items of a list, cut, and say so where there are more. A
// list in JSON is printed once it is whole or has 8 MiB; what breaks off later is not
// repeated, and is status 1. A tree is made of 64 MiB at most.
//
// One watch at a time has an owner of a state folder. Another one is told which process
// that is, and takes the owner up when it has ended; with nobody else to watch it is
// status 4. Of another state folder nobody knows, and a broker has one connection of an owner: it
// disconnects whoever is connected elsewhere, and what it has queued for that one comes here. So the
// first time that an owner is watched from a state folder needs --take-over. At a terminal watch asks
// instead, once for all owners, and no answer means no; anywhere else it is status 2. That an owner
// has signed in on this machine is no leave: it may be connected elsewhere all the same. Owners who
// sign in while watch runs are then left out, unless it was given --take-over. With the configuration
// that fdsdemo provider keeps in its folder, it is said and needs no leave: the box's owners are made
// up, and its broker is reached from this machine alone. A provider without a broker has no connection
// to take over.
//
// watch --poll takes nothing from anybody: it reads events and statuses from the Web API, at
// poll.interval or every 30 seconds, never connects, and remembers what it has shown in the folder
// poll of the state folder, or in memory where it may not write there. It may run beside a watch, here
// or elsewhere. A watch that may not write to the state folder does not begin.
//
// While something is amiss, watch tells it every few seconds on standard error:
// gaps that are not fetched, messages that wait. It ends an owner's connection when the
// grant has ended, unless push.keep_without_grant is set.
//
// webhook says first where it listens, and what the provider has to know: for which audience, and
// to which of its clients, the access tokens of its deliveries must have been issued. A delivery
// is acknowledged once its lines are written. One that was acknowledged is not shown again, also
// after a restart with webhook.folder. What is refused is told on standard error with the reason,
// and counted at the end. Grants are renewed meanwhile. docs/webhooks.md has the rest.
//
// watch --json and webhook --json print of each message:
//
//	owner           the subscription ID
//	issuer          the provider's
//	topic           as sent; "" where it did not come over MQTT
//	levels          of the topic, below fds/v2/<subscription-id>/; [] where it did not come over MQTT
//	qos             quality of service, 0 to 2
//	retained        true: the broker had kept it, a last known state
//	duplicate       true: it may have been printed before
//	source          push; backfill, read after an outage; poll, read at an interval; webhook, delivered
//	kind            event or status; where nobody knows, "", and over MQTT none
//	key             what it is known by, whichever way it comes; only where the item has one
//	received_at     by this machine's clock
//	payload         as sent, if that is JSON in UTF-8; else
//	payload_base64  the same bytes in base64
//
// owners --json prints of each owner, null standing for a time that is not known:
//
//	owner                the subscription ID
//	name                 that the configuration gives; only where it gives one
//	issuer               the provider's
//	token                fresh; renewable, by the next command that needs it; lapsed: sign in
//	                     again; unreadable
//	token_expiry         of the access token
//	refresh_expiry       of the refresh token
//	certificate_expiry   of the owner's certificate
//	problem              why the grant cannot be read; only then
//	lapsed               why it has lapsed; only then
//	certificate_problem  none, expired and when, or why it cannot be read; only then
//	grant_owners         who signed in together, this one among them; only where several did
//	grant_others         who signed out, though the grant reads their data; only then
//	untold               why nothing is read of this owner alone; only then
//	gap                  what watch has still to fetch: from, to, since, why; only then
//	gap_problem          why that is not known; only then
//
// check begins with this machine and stops, with one sentence, where nothing else can work. It
// connects with a certificate of an owner's, and risks a grant, only for a --spare-owner, or with
// --intrusive; then it holds the provider to more. Status 0 means that nothing failed and every
// check that began reached its subject; with --strict, that everything was tested besides. check
// --json prints of each check:
//
//	id           stable, as W2-api-tls-1.0
//	requirement  W1 to W10, M1 to M8, API for the pull model's errors, or setup
//	rule         what must be true
//	outcome      pass, fail, not testable, not applicable, or error: it did not reach its subject
//	why          what was broken, what to supply, or why it could not run; only without a pass
//	remedy       what to do; only of a failure
//	duty         whose it is
//	weaknesses   what it is called elsewhere, as CWE-295; only where there is such a name
//	evidence     a list of tried and saw, without secrets
//	duration     in nanoseconds
//
// and in its last line provider, started, headline, passed, failed, errors, not_testable,
// not_applicable, and stopped, the sentence, where it stopped.
//
// broker-config --json prints of each certificate, and of the revocation list:
//
//	kind     authority, server, revocations, owner, or provider, a connection of one
//	name     the subscription ID as the provider spells it, NAME-1, or the broker's hosts
//	file     in the folder
//	outcome  made, kept, renewed or revoked
//	expires  when it expires, or the revocation list does
//	revoked  when it was revoked; only then
//
// then of each fault, which is status 1, kind fault with field (a file and line), problem and
// remedy, and at the end kind broker, with its urls and reload: true when a broker that is running
// must read its files anew. The folder's README.txt says how to run it. Its keys here are
// provider.broker_url, push.certificates, the folder's owners, and provider.ca_file, the folder's
// ca.pem: that file holds for all servers of a provider, so it may have to hold others too.
//
// What may be done twice is tried again for 30 seconds when the provider cannot be
// reached, which is told each time. What time does not heal is not: a name that does not exist, a
// certificate that is not trusted, a secret that is refused, an address where no provider answers. A tag is not made again when its making may have succeeded: that is
// status 1, and tag list tells. A provider that refuses an owner's grant is asked once
// more, half a minute later, before that is status 3.
//
// # Exit status
//
//	0  done
//	1  failed, denied, cancelled, or unreachable for 30 seconds; without a word where whoever
//	   read standard output has gone
//	2  wrong usage or configuration
//	3  sign in first: no owner is stored, or not the one that was named, or its
//	   grant has lapsed
//	4  held by others: logout has signed the owner out here, but others who signed in
//	   together hold the grant still, so that its access has not ended until the last
//	   of them has signed out; or watch has not begun, since another process watches
//
// SIGINT, SIGTERM and, unless that is ignored, SIGHUP end the tour, provider, watch and webhook
// with 0, other commands with 1. A renewal that has been sent is waited for, three minutes at most,
// since the grant would be lost with its answer. A second SIGINT or SIGTERM ends the process at once.
//
// # Configuration
//
// Every command but the tour and provider reads --config FILE, by default
// fdsdemo.yaml in the user's configuration folder (os.UserConfigDir), and checks
// all of it. For several providers a configuration has a name, its context: --context NAME reads
// fdsdemo/contexts/NAME.yaml in that folder, and default is fdsdemo.yaml. Without either flag
// FDSDEMO_CONFIG of the environment names a file, or FDSDEMO_CONTEXT a context; then the one that
// config use has chosen is read.
//
// A secret stands in a file of one line, in a variable of the environment, or is what a program
// prints. That is run without a shell, in the folder of the file, whenever a command needs the
// configuration, and for a minute at most; a file that other users may write, or that is another
// user's, has none run.
//
// Paths are relative to the file; keys that are not listed are errors. A value below is
// the default, if it is not said to be an example; config reference prints the same.
//
//	provider:
//	  issuer: https://auth.example.com      # required; the authorization server, as it names itself;
//	                                        # its endpoints are discovered
//	  authorization_endpoint: ""            # overrides what was discovered; with token_endpoint
//	                                        # nothing is discovered
//	  token_endpoint: ""                    # overrides what was discovered
//	  revocation_endpoint: ""               # overrides what was discovered
//	  jwks_uri: ""                          # overrides what was discovered
//	  pushed_authorization_request_endpoint: ""  # overrides what was discovered
//	  device_authorization_endpoint: ""     # overrides what was discovered
//	  introspection_endpoint: ""            # overrides what was discovered
//	  resources: []                         # APIs that tokens are asked for (RFC 8707)
//	  api_url: https://api.example.com      # for example; the Web API, to which /fds/v2/ is
//	                                        # appended; for get, and for what an outage lost
//	  broker_url: mqtts://broker.example.com:8883  # for example; the broker, for watch; or wss://host/path;
//	                                        # without one see poll
//	  dialect:                              # names and forms that FDS leaves open; what has no
//	                                        # default is not sent
//	    from_parameter: ""                  # query parameter that bounds statuses, statistics and
//	                                        # events by their date-time from below: for get --from
//	                                        # and what an outage lost
//	    to_parameter: ""                    # and from above: for get --to
//	    time_member: ""                     # where an item has its date-time, as generic.date_time
//	    time_layout: ""                     # as Go writes layouts; default RFC 3339
//	    language_parameter: ""              # query parameter for get --language
//	    device_id: device_id                # member that holds a device's ID
//	    message_id: message_id              # member that holds an event message's ID
//	    tag_id: tag_id                      # member that holds a tag's ID
//	    tag_parameter: ""                   # query parameter that chooses one tag; without it all
//	                                        # are read
//	    subscription_member: generic.subscription_id  # for example; where an item names its owner
//	    subscription_parameter: ""          # query parameter that asks for one owner's items
//	    kind_member: ""                     # where an item says what it is about, as kind: for the
//	                                        # key of watch --json
//	    event_kind: ""                      # what stands there in an event
//	    status_kind: ""                     # what stands there in a status
//	    sequence_member: ""                 # a number that no other item of its kind and device has
//	    severity_member: ""                 # where an event says how grave it is, as
//	                                        # generic.severity; watch shows it first
//	    code_member: ""                     # and which event it is, as generic.code
//	    event_topic: ""                     # on which topic below fds/v2/<subscription ID>/ an event
//	                                        # is published, as devices/{device_id}/events
//	    status_topic: ""                    # and a status
//	    ids_separator: ","                  # between the IDs of get --ids
//	    list_member: ""                     # member of an answer that holds the list; default: the
//	                                        # answer is the list
//	    paging:                             # by default one answer, or Link headers (RFC 8288); or
//	                                        # one of these ways:
//	      page_parameter: ""                # query parameter with a page's number
//	      first_page: 0                     # the first page's number
//	      offset_parameter: ""              # query parameter with the number of items before a page
//	      cursor_parameter: ""              # query parameter with the cursor
//	      cursor_member: ""                 # where an answer has the next cursor, as paging.next
//	      next_member: ""                   # where an answer has the next page's URL, as links.next
//	      more_member: ""                   # where it says whether there is a next page, as has_more
//	      size_parameter: ""                # query parameter with the number of items a page
//	      size: 0                           # and the number
//	  ca_file: ca.pem                       # for example; authorities that are trusted beside the
//	                                        # system's, by all three
//	  tls: "1.2+"                           # or "1.2" to pin
//	  final_errors: []                      # further codes with which the provider ends a grant,
//	                                        # besides invalid_grant and its kin
//	  replays_refresh_tokens: false         # true: a refresh token that was spent brings the same
//	                                        # answer again for a while
//	application:                            # what the provider knows this application by; how it
//	                                        # proves itself: a secret, a certificate, a key, or
//	                                        # nothing
//	  name: fdsdemo                         # also the keyring's service name
//	  client_id: fleet-app                  # required; as the provider has issued it
//	  client_secret_file: secret.txt        # for example; file with the client secret, one line
//	  client_secret_env: FLEET_SECRET       # for example; or the variable of the environment that
//	                                        # has it
//	  client_secret_command: [pass, show, fds/secret]  # for example; or the program, with its arguments, that
//	                                        # prints it; no shell is involved
//	  certificate_file: app.pem             # for example; for TLS client authentication (RFC 8705)
//	  key_file: app.key                     # for example; its private key, PEM; without
//	                                        # certificate_file a key that signs assertions (RFC 7523)
//	  key_env: FLEET_KEY                    # for example; or the variable of the environment that
//	                                        # has it
//	  key_command: [pass, show, fds/key]    # for example; or the program that prints it
//	  key_id: ""                            # names the key to a provider that knows several
//	  assertion_audience: ""                # default the issuer
//	  auth_method: ""                       # none, client_secret_basic, client_secret_post,
//	                                        # tls_client_auth, self_signed_tls_client_auth,
//	                                        # private_key_jwt; default by what is given
//	  dpop: false                           # bind tokens to a key (RFC 9449)
//	  pushed_requests: false                # RFC 9126; done anyway where the provider demands it
//	  scopes: [openid, offline_access]      # what is asked for at a sign-in
//	  authorization_parameters: {}          # added to the request that login's browser opens, as
//	                                        # {ui_locales: de}; an empty value leaves out what is
//	                                        # sent by default, as {prompt: ""}
//	  redirect_path: ""                     # on 127.0.0.1 and [::1]; default one for each issuer,
//	                                        # which login --redirect-uri prints for the registration.
//	                                        # /callback keeps an earlier one working, and then only a
//	                                        # provider that names itself in its redirects (iss) is
//	                                        # told from others
//	  redirect_ports: []                    # empty: any free port
//	  symmetric_id_tokens: false            # true: ID tokens may be signed by HS256 with the client
//	                                        # secret, of 32 bytes or more
//	  subscription_claim: subscription_id   # of a token, which names the owner
//	tokens:                                 # where grants are kept
//	  store: keyring                        # keyring, file, memory
//	  folder: grants/                       # for example; for store: file
//	  passphrase_file: pass.txt             # for example; file with the folder's passphrase, one
//	                                        # line; without one the folder's key is kept in the
//	                                        # keyring
//	  passphrase_env: FLEET_PASSPHRASE      # for example; or the variable of the environment that
//	                                        # has it
//	  passphrase_command: [pass, show, fds/grants]  # for example; or the program that prints it
//	push:                                   # connections to the broker
//	  certificates: owners/                 # for example; folder with <subscription-id>.pem:
//	                                        # certificate chain and private key; or .p12, .pfx
//	  certificate_password_file: p12.txt    # for example; file with the password of .p12 and .pfx,
//	                                        # one line
//	  certificate_password_env: FLEET_P12   # for example; or the variable of the environment that
//	                                        # has it
//	  certificate_password_command: [pass, show, fds/p12]  # for example; or the program that prints it
//	  topics: ["#"]                         # below fds/v2/<subscription-id>/, of what is fetched
//	                                        # too, by event_topic and status_topic
//	  at_most_once: false                   # true: quality of service 0, by which messages may be
//	                                        # lost
//	  fallbacks: []                         # more URLs of the same broker, tried in turn
//	  allowed_servers: []                   # hosts to which the broker may refer, host or host:port;
//	                                        # none: referrals are not followed
//	  session_expiry: 24h                   # how long the broker keeps what waits for this machine;
//	                                        # 1s to 136 years
//	  max_waiting_bytes: 67108864           # what waits for watch's output in memory
//	  max_packet_size: 1048576              # bytes; a broker drops larger messages without a word
//	  state_folder: state/                  # for example; positions, open gaps, filters, and which
//	                                        # process watches whom
//	  proxy: none                           # for example; none, or a proxy's URL; default:
//	                                        # HTTPS_PROXY, ALL_PROXY and NO_PROXY of the environment
//	  alpn: [mqtt]                          # for example; application protocols to offer the broker
//	                                        # in TLS; default none
//	  gaps: on                              # off: what an outage lost is not fetched
//	  trust_session: false                  # true: nor after an outage over which the broker kept
//	                                        # the session
//	  keep_without_grant: false             # true: the connection of an owner whose grant has ended
//	                                        # goes on while the broker lets it
//	pull:                                   # bounds of what is read from the Web API; 0: the default
//	                                        # that is shown
//	  max_body_bytes: 67108864              # of one answer, decompressed
//	  max_item_bytes: 1048576               # of one item
//	  max_list_bytes: 1073741824            # of a whole list
//	  max_pages: 10000                      # of a list
//	  timeout: 1m                           # for one answer
//	  list_timeout: 10m                     # for a whole list
//	poll:                                   # for watch with a provider without a broker: without
//	                                        # broker_url; and for watch --poll
//	  interval: 30s                         # for example; between two reads of events and statuses;
//	                                        # 1s or more; default: none, and 30s with --poll
//	  margin: 5m                            # how late the provider may show an event; up to 720h
//	webhook:                                # the endpoint to which the provider delivers, for
//	                                        # webhook
//	  listen: 127.0.0.1:8443                # address and port; with :8443 other machines reach it
//	  path: /fds/{subscription_id}          # for example; what is answered at, with the owner where
//	                                        # the provider names one in it; default all paths
//	  certificate_file: localhost.pem       # required; this server's certificate, which the provider
//	                                        # has to trust
//	  key_file: localhost.key               # for example; its private key; default in
//	                                        # certificate_file
//	  key_env: HOOK_KEY                     # for example; or the variable of the environment that
//	                                        # has it
//	  key_command: [pass, show, fds/hook]   # for example; or the program that prints it; run once,
//	                                        # at the start
//	  tls: "1.2+"                           # or "1.2" to pin
//	  audience: https://app.example.com/fds  # required; what access tokens must name as theirs (aud):
//	                                        # this endpoint alone
//	  senders: [provider-sender]            # required; client IDs of the provider's, to which they
//	                                        # must have been issued
//	  introspection: false                  # true: tokens are no JWTs; the provider is asked about
//	                                        # each (RFC 7662)
//	  token_type: at+jwt                    # what their header says they are (typ)
//	  algorithms: [ES256, RS256]            # for example; by which they may be signed; default all
//	                                        # that are safe
//	  client_claim: client_id               # which claim has the client ID
//	  clock_skew: 1m                        # between the clocks of this machine and of the provider
//	  certificate_bound: false              # true: only tokens that are bound to the sender's client
//	                                        # certificate (RFC 8705)
//	  client_ca_file: ca.pem                # for example; authorities of senders' client
//	                                        # certificates; default: none is asked for, or any where
//	                                        # bound
//	  secret_files: [webhook-secret.txt]    # for example; files with secrets, one line each, whsec_
//	                                        # and base64; read at the start; deliveries must be
//	                                        # signed by one (Standard Webhooks)
//	  secret_envs: [WEBHOOK_SECRET]         # for example; and variables of the environment that have
//	                                        # some
//	  secret_command: [pass, show, fds/webhook]  # for example; and a program that prints some, one a line
//	  proxies: [127.0.0.1, 192.0.2.0/24]    # for example; reverse proxies whose Client-Cert (RFC
//	                                        # 9440) is believed
//	  folder: webhook/                      # for example; what was handled, so that a repetition is
//	                                        # known after a restart; default: memory alone
//	  max_marks: 1000000                    # of what was handled
//	  max_body_bytes: 1048576               # of one delivery
//	  max_bytes: 67108864                   # of all that are in hand
//	  max_in_hand: 1024                     # deliveries at once
//	  max_in_hand_of_owner: 16              # and of one owner
//	  max_connections: 4096                 # at once
//	  body_timeout: 10s                     # for a body to arrive
//	  handler_timeout: 15s                  # for its lines to be written
//	owners: {harbour: 1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01}  # for example; names of owners, for --owner and what is
//	                                        # shown
//
// Text is UTF-8, with a byte order mark or without. All files are regular ones. That
// other users of this machine may read one that holds a secret is warned about.
//
// Without tokens.folder, grants are in NAME/grants of the user's configuration
// folder, and without push.certificates those in NAME/owners are used if that
// folder is there, NAME being application.name. Without push.state_folder, state
// is kept in NAME/state below $XDG_STATE_HOME (default ~/.local/state), on
// Windows and macOS below the user's configuration folder.
package main
