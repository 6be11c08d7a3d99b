package realtest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Browser is a Chromium without a screen that a test steers, with one page.
type Browser struct {
	t       testing.TB
	session string
	to      io.Writer

	mu      sync.Mutex
	last    int
	waiting map[int]chan answer
	over    error // why nothing is answered any more
}

// View is how a person sees a page.
type View struct {
	Width, Height int
	Dark          bool // the person's system is
}

// stepTime bounds a step of the browser, with room for a busy machine.
const stepTime = 30 * time.Second

type answer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// NewBrowser starts a browser that ends with the test.
func NewBrowser(t testing.TB, options ChromiumOptions) *Browser {
	t.Helper()
	command := chromium(t, options, "--remote-debugging-pipe", "about:blank")
	ours, theirs := pipe(t), pipe(t)
	command.ExtraFiles = []*os.File{ours.r, theirs.w} // 3, from which it reads, and 4
	b := &Browser{t: t, to: ours.w, waiting: map[int]chan answer{}}
	startChild(t, "chromium", command)
	_ = ours.r.Close()
	_ = theirs.w.Close()
	go b.listen(theirs.r)

	var target struct{ TargetID string }
	b.must("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.must("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	return b
}

type pipeEnds struct{ r, w *os.File }

func pipe(t testing.TB) pipeEnds {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatalf("realtest: %v", err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return pipeEnds{r, w}
}

// listen hands answers to those who wait for them. Messages end with a NUL.
func (b *Browser) listen(from io.Reader) {
	messages := bufio.NewReader(from)
	for {
		message, err := messages.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.over = fmt.Errorf("the browser has ended: %w", err)
			for id, waits := range b.waiting {
				delete(b.waiting, id)
				close(waits)
			}
			return
		}
		var a answer
		if json.Unmarshal(message[:len(message)-1], &a) != nil || a.ID == 0 {
			continue // an event
		}
		b.mu.Lock()
		if waits := b.waiting[a.ID]; waits != nil {
			delete(b.waiting, a.ID)
			waits <- a
		}
		b.mu.Unlock()
	}
}

// call has the browser do something (Chrome DevTools Protocol).
func (b *Browser) call(method string, parameters, result any) error {
	b.mu.Lock()
	if b.over != nil {
		defer b.mu.Unlock()
		return b.over
	}
	b.last++
	id, waits := b.last, make(chan answer, 1)
	b.waiting[id] = waits
	b.mu.Unlock()
	message := map[string]any{"id": id, "method": method, "params": parameters}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	if err != nil {
		return err
	}
	select {
	case a, ok := <-waits:
		switch {
		case !ok:
			return errors.New("the browser has ended")
		case a.Error != nil:
			return errors.New(a.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(a.Result, result)
	case <-time.After(stepTime):
		return fmt.Errorf("no answer within %v", stepTime)
	}
}

func (b *Browser) must(method string, parameters, result any) {
	b.t.Helper()
	if err := b.call(method, parameters, result); err != nil {
		b.t.Fatalf("realtest: chromium: %s: %v", method, err)
	}
}

// See makes the page look as it does to a person.
func (b *Browser) See(v View) {
	b.t.Helper()
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	b.must("Emulation.setDeviceMetricsOverride", map[string]any{"width": v.Width, "height": v.Height, "deviceScaleFactor": 1, "mobile": v.Width < 600}, nil)
	b.must("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme},
		{"name": "prefers-reduced-motion", "value": "reduce"}, // it stands still at once
	}}, nil)
}

// Open goes to an address and waits until the page is there.
func (b *Browser) Open(address string) {
	b.t.Helper()
	var navigated struct{ ErrorText string }
	b.must("Page.navigate", map[string]any{"url": address}, &navigated)
	if navigated.ErrorText != "" {
		b.t.Fatalf("realtest: chromium: %s: %s", address, navigated.ErrorText)
	}
	b.Await("document.readyState === 'complete'")
}

// Run runs a script in the page and stores its result, or that of its promise. It needs no leave
// of the page's.
func (b *Browser) Run(script string, result any) {
	b.t.Helper()
	if err := b.evaluate(script, result); err != nil {
		b.t.Fatalf("realtest: chromium: %.200s: %v", script, err)
	}
}

func (b *Browser) evaluate(script string, result any) error {
	var evaluated struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := b.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &evaluated)
	switch threw := evaluated.ExceptionDetails; {
	case err != nil:
		return err
	case threw != nil:
		return fmt.Errorf("%s %s", threw.Text, threw.Exception.Description)
	case result == nil || evaluated.Result.Value == nil:
		return nil
	}
	return json.Unmarshal(evaluated.Result.Value, result)
}

// Await waits until a script of one expression is true, on whatever page is there by then.
func (b *Browser) Await(expression string) {
	b.t.Helper()
	var err error
	for end := time.Now().Add(stepTime); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var is bool
		if err = b.evaluate("Boolean("+expression+")", &is); err == nil && is {
			return
		}
	}
	var text string
	_ = b.evaluate("location.href + '\\n' + document.body.innerText", &text)
	b.t.Fatalf("realtest: chromium: it does not come to %s (%v); the page is\n%s", expression, err, text)
}

// Screenshot returns the page as PNG, all of it.
func (b *Browser) Screenshot() []byte {
	b.t.Helper()
	var shot struct{ Data string }
	b.must("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	image, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatalf("realtest: chromium: %v", err)
	}
	return image
}

// Barriers returns what keeps some people from using the page, as axe-core finds it, a line each:
// what is wrong, and of which contrasts it cannot say that they are right.
func (b *Browser) Barriers() []string {
	b.t.Helper()
	b.Run(axeSource(b.t), nil)
	var found []string
	b.Run(`axe.run(document, {resultTypes: ['violations', 'incomplete']}).then(r =>
		[...r.violations, ...r.incomplete.filter(one => one.id.startsWith('color-contrast'))].flatMap(one =>
			one.nodes.map(n => one.id + ': ' + one.help + ': ' + n.html + ' ' + n.any.map(a => a.message).join('; '))))`, &found)
	return found
}

// axeSource is the script of axe-core.
func axeSource(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	script, err := os.ReadFile(filepath.Join(filepath.Dir(file), "axe", "node_modules", "axe-core", "axe.min.js"))
	if errors.Is(err, os.ErrNotExist) {
		Require(t, "axe-core", "it is not installed: (cd internal/realtest/axe && npm ci --ignore-scripts)")
	}
	if err != nil {
		t.Fatalf("realtest: %v", err)
	}
	return strings.TrimSpace(string(script)) + "\n;0"
}
