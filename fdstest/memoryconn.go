package fdstest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxOnTheWay is what a connection in memory takes before a writer waits for the reader,
// about what TCP does on the loopback interface. Who writes less never waits, and so holds
// up nobody who waits for the same mutex, which would stop the clock of a bubble.
const maxOnTheWay = 1 << 20

// memoryConn is one end of a connection in memory, with the deadlines and the endings of
// TCP.
type memoryConn struct {
	local, remote net.Addr
	in, out       *stream
}

// memoryConns makes both ends.
func memoryConns(client, server net.Addr) (atClient, atServer *memoryConn) {
	up, down := newStream(), newStream()
	return &memoryConn{client, server, down, up}, &memoryConn{server, client, up, down}
}

func (c *memoryConn) LocalAddr() net.Addr  { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

func (c *memoryConn) Read(b []byte) (int, error) {
	n, err := c.in.get(b)
	return n, c.explain("read", err)
}

func (c *memoryConn) Write(b []byte) (int, error) {
	n, err := c.out.put(b)
	return n, c.explain("write", err)
}

// Close ends both directions. The other side reads what is on the way, and then io.EOF.
func (c *memoryConn) Close() error {
	err := c.out.leave(&c.out.writer)
	_ = c.in.leave(&c.in.reader)
	return c.explain("close", err)
}

// CloseWrite ends the direction to the other side, which reads what is on the way, and then
// io.EOF.
func (c *memoryConn) CloseWrite() error { return c.explain("close", c.out.end()) }

func (c *memoryConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	return c.explain("set", c.in.deadline(&c.in.reader, t))
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	return c.explain("set", c.out.deadline(&c.out.writer, t))
}

func (c *memoryConn) explain(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// stream is one direction of a connection.
type stream struct {
	mu             sync.Mutex
	changed        sync.Cond
	onTheWay       bytes.Buffer
	reader, writer side
	ended          bool // nothing is written any more
	lost           bool // something was written for a reader who has left
}

// side is the reader or the writer of a stream.
type side struct {
	left bool        // it has closed the connection
	late bool        // its deadline has passed
	due  *time.Timer // until then; nil: it has none
}

func newStream() *stream {
	s := new(stream)
	s.changed.L = &s.mu
	return s
}

// refuses says why a side cannot go on; nil: it can. The caller holds the mutex.
func (s *side) refuses() error {
	switch {
	case s.left:
		return net.ErrClosed
	case s.late:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (s *stream) get(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch err := s.reader.refuses(); {
		case err != nil:
			return 0, err
		case len(b) == 0:
			return 0, nil
		case s.onTheWay.Len() > 0:
			s.changed.Broadcast()
			return s.onTheWay.Read(b)
		case s.ended:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) put(b []byte) (written int, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		free := maxOnTheWay - s.onTheWay.Len()
		switch err := s.writer.refuses(); {
		case err != nil:
			return written, err
		case s.ended, s.lost && s.reader.left:
			return written, os.NewSyscallError("write", syscall.EPIPE)
		case written == len(b):
			return written, nil
		case s.reader.left: // its system says so only in answer to this
			s.lost = true
			return len(b), nil
		case free > 0:
			n, _ := s.onTheWay.Write(b[written:min(len(b), written+free)])
			written += n
			s.changed.Broadcast()
			continue
		}
		s.changed.Wait()
	}
}

// end has the reader see io.EOF after what is on the way.
func (s *stream) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer.left {
		return net.ErrClosed
	}
	s.ended = true
	s.changed.Broadcast()
	return nil
}

// leave ends the part of one side, the reader's or the writer's.
func (s *stream) leave(one *side) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.left {
		return net.ErrClosed
	}
	one.left = true
	one.set(nil)
	if one == &s.writer {
		s.ended = true
	} else {
		s.onTheWay.Reset()
	}
	s.changed.Broadcast()
	return nil
}

// deadline sets one side's; the zero time means none.
func (s *stream) deadline(one *side, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.left {
		return net.ErrClosed
	}
	one.set(nil)
	left := time.Until(t)
	if one.late = !t.IsZero() && left <= 0; !t.IsZero() && left > 0 {
		var due *time.Timer
		due = time.AfterFunc(left, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if one.due == due {
				one.late = true
				s.changed.Broadcast()
			}
		})
		one.set(due)
	}
	s.changed.Broadcast()
	return nil
}

func (s *side) set(due *time.Timer) {
	if s.due != nil {
		s.due.Stop()
	}
	s.due = due
}
