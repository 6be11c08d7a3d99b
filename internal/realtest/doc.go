// Package realtest starts the real programs that this SDK meets in the field, for tests: a
// Secret Service (gnome-keyring on a private bus), MQTT v5 brokers (Mosquitto, mochi-mqtt and
// ejabberd, with client certificates), a certified OpenID provider (oidc-provider under node),
// a browser (Chromium, with axe-core), a reader of manuals (mandoc), a terminal (tmux), reverse proxies (nginx and
// Caddy) and small disks. A double can be wrong in the same way as the code it tests; these cannot.
//
// Only tests import it. Every part listens on 127.0.0.1 or in a folder of its own, ends with
// the test that started it, and ends too when the test binary is killed. A part whose program
// is not installed skips the test and says what is missing; with FDS_REQUIRE_REAL=1, as in
// .ci/run, it fails the test instead, so that a machine without the programs cannot pass for
// one with them.
//
// The handles' methods that take no context fail the test themselves: call them from the
// test's own goroutine.
package realtest
