package realtest

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ListenAddress stands in the configuration of a reverse proxy for where it listens.
const ListenAddress = "LISTEN_ADDRESS"

// Nginx runs nginx, with its module njs, until the test ends: http is the inside of the block http
// of its configuration. It returns where it listens.
func Nginx(t testing.TB, http string) (address string) {
	t.Helper()
	const install = "apt-get install --no-install-recommends nginx-light libnginx-mod-http-js"
	nginx := program(t, "a reverse proxy", "nginx", install)
	const module = "/usr/lib/nginx/modules/ngx_http_js_module.so"
	if _, err := os.Stat(module); err != nil {
		Require(t, "nginx's module njs", install)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatalf("realtest: %v", err)
	}
	// One process, which thus ends as a whole when it is killed.
	var text strings.Builder
	text.WriteString("daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr notice;\nload_module " + module + ";\n")
	if me.Uid == "0" {
		text.WriteString("user root;\n")
	}
	text.WriteString("events {}\nhttp {\naccess_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text.WriteString(kind + "_temp_path " + kind + ";\n")
	}
	text.WriteString(http + "\n}\n")
	return startProxy(t, "nginx", text.String(), "getrlimit(RLIMIT_NOFILE)", func(folder, config string) *exec.Cmd {
		return exec.Command(nginx, "-e", "stderr", "-p", folder, "-c", config)
	})
}

// Caddy runs Caddy with the sites of a Caddyfile until the test ends. It returns where it listens.
func Caddy(t testing.TB, sites string) (address string) {
	t.Helper()
	caddy := program(t, "a reverse proxy", "caddy", "apt-get install --no-install-recommends caddy")
	text := "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n" + sites
	return startProxy(t, "caddy", text, "serving initial configuration", func(folder, config string) *exec.Cmd {
		command := exec.Command(caddy, "run", "--config", config, "--adapter", "caddyfile")
		command.Env = append(os.Environ(), "HOME="+folder, "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
		return command
	})
}

// startProxy starts a reverse proxy and waits until it writes a line that contains up.
func startProxy(t testing.TB, name, text, up string, command func(folder, config string) *exec.Cmd) (address string) {
	t.Helper()
	folder := t.TempDir()
	address = net.JoinHostPort("localhost", strconv.Itoa(freePort(t)))
	config := filepath.Join(folder, name+".conf")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(text, ListenAddress, address)), 0o600); err != nil {
		t.Fatalf("realtest: %v", err)
	}
	startChild(t, name, command(folder, config)).waitLine(t, up)
	return address
}
