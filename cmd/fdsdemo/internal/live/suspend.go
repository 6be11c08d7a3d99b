package live

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"
)

// stopsWithin is longer than a process lives that the system stops.
const stopsWithin = time.Second

// suspend hands the terminal back and stops the process, until somebody has it go on.
func (m *model) suspend() tea.Cmd {
	if m.resumed == nil {
		m.resumed = make(chan struct{})
		go comeBack(m.ctx, m.resumed)
	}
	return tea.Suspend
}

// comeBack has a process go on that was not stopped: one without a shell that could have it go on
// the system leaves running (POSIX: an orphaned process group), and bubbletea would wait for ever.
func comeBack(ctx context.Context, resumed <-chan struct{}) {
	ticker := time.NewTicker(stopsWithin)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			goOn()
		case <-resumed:
			return
		case <-ctx.Done():
			return
		}
	}
}
