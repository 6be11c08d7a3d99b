// Package brokerconfig writes and keeps the configuration of a Mosquitto broker that the
// application runs itself, for its owners and the providers that publish to them.
//
// FDS leaves the broker to either side. When the application runs it, the application's
// administrator sees to the certificates (M2), the client IDs (M4), and who may subscribe (M5, M7)
// and publish (M6): that is M8, and this package does it. [Write] makes a folder with all that
// Mosquitto needs and with a certificate for each owner and each connection of a provider. Called
// again with more owners or providers it adds what is missing, renews what expires, and leaves
// everything else as it is, byte for byte. [Inspect] says of such a folder, without any secret,
// who has a certificate until when and what no longer holds.
//
// # The folder
//
//	mosquitto.conf           written once and then the administrator's
//	acl                      who may read and publish what; rules are added, and a revoked name's go
//	ca.pem                   the broker's authority: clients trust it, and it says who a client is
//	ca.key.age               its key, encrypted under the passphrase (age, scrypt); not with CAFile
//	server.pem               the broker's certificate and key
//	crl.pem                  the certificates that were revoked
//	owners/<id>.pem          an owner's certificate and key, for fdsclient.OpenCertificateFolder
//	providers/<name>-<n>.pem those of a provider's connection, to be handed to the provider
//	issued.json              which certificates were issued to whom, and revoked
//	data/                    Mosquitto's own: sessions and queued messages
//	README.txt               how to run it
//
// Files have mode 0600 and folders 0700, so the broker runs as the user who calls Write. Each is
// written whole or not at all, and a certificate is noted in issued.json before anyone can have it:
// what a crash left half done the next Write finishes. One Write at a time works on a folder, among
// all processes of a machine.
//
// # Who is who
//
// Mosquitto takes the common name of a client's certificate for its user name and its client ID,
// whatever it says itself (use_identity_as_username, use_username_as_clientid). Without the second
// a client with any certificate of the broker could give another's client ID and throw that one
// off. So the common name of an owner is its subscription ID, as the provider spells it, since
// topics are compared byte by byte. Of a provider it is the name and a number, and each connection
// has its own: two that share one would throw each other off for ever.
//
// An owner reads below fds/v2/<its ID>/ and publishes nothing. A provider's connection publishes
// below the IDs of exactly its owners and reads nothing of theirs.
//
// # The authority
//
// The authority that Write makes can issue for the hosts of the first call alone (name
// constraints): an application that trusts it for the broker does not trust it for any other
// server. With CAFile it is one of the user's own. Everything that it has issued, for whatever
// purpose, is then let in under its common name: it must be one for this broker alone, and a root,
// since Mosquitto goes by what stands above it too.
//
// # Mosquitto takes up changes
//
// Measured with 2.0.11: SIGHUP has it read acl, crl.pem, server.pem, ca.pem and the settings above
// the first listener anew. Connections stay, and rules of acl apply to them at once; what stands
// below a listener is read at the start alone. A revoked certificate is refused at the next
// connect, and acl takes everything from its connections that are up. Two things are to know: an
// expired crl.pem has it refuse everybody, and when it cannot read acl at a SIGHUP it lets
// everybody read and write everything, when it cannot read crl.pem the revoked in. So look at
// [State].Faults before a SIGHUP that follows an edit by hand. At the start it refuses to run
// instead.
package brokerconfig
