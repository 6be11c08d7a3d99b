package world

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// handle is the smart handle of a mop, which knows where it wipes and how.
type handle struct {
	Rooms   []string
	Room    int
	Mop     string
	Side    int
	Pattern int
}

type handleStatus struct {
	LocationSpaceID string `json:"location_space_id"`
	MopDeviceID     string `json:"mop_device_id"`
	FrameSide       int    `json:"frame_side"`
	PatternID       int    `json:"pattern_id"`
}

func newHandle(r *rand.Rand, rooms []string) *handle {
	return &handle{Rooms: rooms, Room: r.IntN(len(rooms)), Mop: fmt.Sprintf("MOP_%06X", r.IntN(1<<24)), Pattern: 1 + r.IntN(5)}
}

func (h *handle) about() about {
	return about{typeHandle, "MOPWORKS", "Mop Works", "Grip 3", "Smart handle"}
}

func (h *handle) live(r *rand.Rand, d time.Duration, _ time.Time) (bool, []happening) {
	if !happens(r, 1.5, d) {
		return false, nil
	}
	if h.Side = 1 - h.Side; h.Side == 1 {
		return true, nil
	}
	h.Room = (h.Room + 1) % len(h.Rooms)
	h.Pattern = 1 + r.IntN(5)
	return true, []happening{{code: codeWiped}}
}

// specification: FDS V2 has no specific one for smart handles.
func (h *handle) specification() any { return nil }

func (h *handle) status() any {
	return handleStatus{h.Rooms[h.Room], h.Mop, h.Side, h.Pattern}
}

func (h *handle) statistic(_, _ time.Time) any { return nil }

func (h *handle) diagnostic(time.Time) any { return nil }
