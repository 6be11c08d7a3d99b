// Package examples holds small complete programs, each to be copied and changed:
//
//   - desktop signs one owner in through the browser and keeps the grant in the
//     system's keyring;
//   - webapp signs owners in from a web application, by its own https redirect;
//   - fleet receives the messages of every owner that has signed in;
//   - webhook takes what a provider delivers by HTTPS, beside other pages.
//
// Each says how it is tried with the provider in a box (go run ./cmd/fdsdemo provider).
// The tests here run just these commands, on Linux alone, where there is a shell for
// them.
package examples
