// Package examples holds small complete programs, each to be copied and changed:
//
//   - desktop signs one owner in through the browser and keeps the grant in the
//     system's keyring;
//   - webapp signs owners in from a web application, by its own https redirect;
//   - fleet receives the messages of every owner that has signed in.
//
// The tests here build and run each of them against a provider in a box. They run
// on Linux alone, where programs can be told by SSL_CERT_FILE to trust its
// authority.
package examples
