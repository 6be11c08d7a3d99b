package push

import (
	"sync"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// surplus is paho's session with room for messages beyond the receive maximum.
// paho's reader would wait for the handler then and no longer see whether the
// connection is alive. Brokers do exceed it: Mosquitto 2.0.11 by two or three when
// acknowledgements and new messages cross, and by what was in flight when it was
// restarted. Twice the receive maximum is let through; beyond, reading pauses
// until the handler has caught up, and only until then a dead connection goes
// unnoticed.
type surplus struct {
	*state.State
	deliver func(*paho.Publish)

	mu       sync.Mutex
	channel  chan<- *packets.Publish // paho's
	messages []*packets.Publish      // that found it full, or others here before them
}

func newSurplus(deliver func(*paho.Publish)) *surplus {
	return &surplus{State: state.NewInMemory(), deliver: deliver}
}

// allowance gives how many unacknowledged messages are let through.
func allowance(receiveMaximum int) int { return receiveMaximum + max(receiveMaximum, 8) }

// PacketReceived is called by paho's reader and does not block.
func (s *surplus) PacketReceived(packet *packets.ControlPacket, channel chan<- *packets.Publish) error {
	message, ok := packet.Content.(*packets.Publish)
	if !ok {
		return s.State.PacketReceived(packet, channel)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channel = channel
	if len(s.messages) == 0 {
		select {
		case channel <- message:
			return nil
		default:
		}
	}
	s.messages = append(s.messages, message)
	return nil
}

// Ack is called by paho when a message was handled. What is in the channel is
// older than the surplus, so that waits until the channel is empty.
func (s *surplus) Ack(message *packets.Publish) error {
	err := s.State.Ack(message)
	for {
		s.mu.Lock()
		if len(s.messages) == 0 || len(s.channel) > 0 {
			s.mu.Unlock()
			return err
		}
		next := s.messages[0]
		s.mu.Unlock()

		s.deliver(paho.PublishFromPacketPublish(next))
		err = s.State.Ack(next)

		s.mu.Lock()
		s.messages = s.messages[1:] // only now: until then, newer ones must queue behind it
		s.mu.Unlock()
	}
}
