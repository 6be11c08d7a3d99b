// Command mochi is a broker made of mochi-mqtt, for the tests of this SDK: over TLS with
// client certificates, whose common name must be the client ID. A client may read below
// fds/v2/<its client ID>/; the one named by -provider may write.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

func main() {
	address := flag.String("address", "", "host:port to listen on")
	authority := flag.String("ca", "", "PEM file of the clients' authority")
	certificate := flag.String("cert", "", "PEM file of the server's certificate")
	key := flag.String("key", "", "PEM file of its key")
	provider := flag.String("provider", "", "common name of who may publish")
	flag.Parse()
	if err := serve(*address, *authority, *certificate, *key, *provider); err != nil {
		log.Fatal("mochi: ", err)
	}
}

func serve(address, authority, certificate, key, provider string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(authority)
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(text) {
		return errors.New("the authority's file holds no certificate")
	}
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err := server.AddHook(&byCertificate{provider: provider}, nil); err != nil {
		return err
	}
	if err := server.AddListener(listeners.NewTCP(listeners.Config{ID: "tls", Address: address, TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
	}})); err != nil {
		return err
	}
	if err := server.Serve(); err != nil {
		return err
	}
	fmt.Println("mochi is running")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	return server.Close()
}

// byCertificate lets in who has a certificate for its client ID.
type byCertificate struct {
	mqtt.HookBase
	provider string
}

func (h *byCertificate) ID() string { return "by certificate" }

func (h *byCertificate) Provides(what byte) bool {
	return bytes.Contains([]byte{mqtt.OnConnectAuthenticate, mqtt.OnACLCheck}, []byte{what})
}

func (h *byCertificate) OnConnectAuthenticate(client *mqtt.Client, connect packets.Packet) bool {
	secured, ok := client.Net.Conn.(*tls.Conn)
	if !ok || secured.Handshake() != nil {
		return false
	}
	certificates := secured.ConnectionState().PeerCertificates
	return len(certificates) > 0 && certificates[0].Subject.CommonName == connect.Connect.ClientIdentifier
}

func (h *byCertificate) OnACLCheck(client *mqtt.Client, topic string, write bool) bool {
	if write {
		return client.ID == h.provider
	}
	return strings.HasPrefix(topic, "fds/v2/"+client.ID+"/")
}
