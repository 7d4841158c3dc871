/*
 * Mux.Cool and XUDP for the light client: with -mux N, N flows at once share a
 * connection.  What a flow does not read yet is held, up to a limit, and then
 * nobody's is read.
 */

package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"net"
	"sync"
	"time"
)

const (
	muxNew  = 1
	muxKeep = 2
	muxEnd  = 3

	muxData    = 1 /* option */
	muxDataMax = 8192
	muxHeld    = 1 << 20

	networkTCP = 1
	networkUDP = 2
)

var muxFlows = flag.Int("mux", 0, "flows of a connection, with -vmess")

/* a connection and its sub-connections */

type mux struct {
	conn net.Conn

	write sync.Mutex
	out   []byte

	lock  sync.Mutex
	flows map[uint16]*muxFlow
	last  uint16
	err   error
}

type muxFlow struct {
	net.Conn
	mux *mux
	id  uint16

	open  []byte /* metadata of New behind the option, until it was sent */
	ready *sync.Cond
	in    []byte
	start int
	ended bool
}

var (
	muxLock  sync.Mutex
	muxConns []*mux
)

func openMux() (*mux, error) {
	c, err := openVMess(commandMux, nil, 0)
	if err != nil {
		return nil, err
	}

	m := &mux{conn: c, flows: make(map[uint16]*muxFlow)}

	go m.receive()

	return m, nil
}

func dialMux(ip net.IP, port uint16) (net.Conn, error) {
	muxLock.Lock()
	defer muxLock.Unlock()

	for _, m := range muxConns {
		if f := m.add(m.last+1, networkTCP, ip, port, *muxFlows); f != nil {
			return f, nil
		}
	}

	m, err := openMux()
	if err != nil {
		return nil, err
	}

	muxConns = append(muxConns, m)

	return m.add(1, networkTCP, ip, port, *muxFlows), nil
}

/* nil: there are enough, or it was closed */

func (m *mux) add(id uint16, network byte, ip net.IP, port uint16,
	max int) *muxFlow {

	m.lock.Lock()
	defer m.lock.Unlock()

	if len(m.flows) >= max || m.err != nil || m.flows[id] != nil {
		return nil
	}

	f := &muxFlow{Conn: m.conn, mux: m, id: id, ready: sync.NewCond(&m.lock)}

	f.open = append(f.open, network)
	f.open = binary.BigEndian.AppendUint16(f.open, port)
	f.open = append(append(f.open, 1), ip...)

	if id == 0 {
		/* XUDP, and its client has no Global ID */

		f.open = append(f.open, make([]byte, 8)...)
	}

	m.flows[id] = f
	m.last = id

	return f
}

func frame(b []byte, id uint16, status, option byte, meta, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(meta)))
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(append(b, status, option), meta...)

	if option&muxData != 0 {
		b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
		b = append(b, data...)
	}

	return b
}

func (m *mux) receive() {
	err := m.frames()

	m.lock.Lock()
	defer m.lock.Unlock()

	m.err = err

	for _, f := range m.flows {
		f.ready.Broadcast()
	}
}

func (m *mux) frames() error {
	b := make([]byte, 65536)

	for {
		if _, err := io.ReadFull(m.conn, b[:2]); err != nil {
			return err
		}

		n := binary.BigEndian.Uint16(b)

		if n < 4 || n > 512 {
			return errors.New("bad frame")
		}

		if _, err := io.ReadFull(m.conn, b[:n]); err != nil {
			return err
		}

		id, status, option := binary.BigEndian.Uint16(b), b[2], b[3]

		if option&muxData != 0 {
			if _, err := io.ReadFull(m.conn, b[:2]); err != nil {
				return err
			}

			n = binary.BigEndian.Uint16(b)

			if _, err := io.ReadFull(m.conn, b[:n]); err != nil {
				return err
			}

		} else {
			n = 0
		}

		m.lock.Lock()

		if f := m.flows[id]; f != nil {
			for len(f.in)-f.start > muxHeld && !f.ended {
				f.ready.Wait()
			}

			if f.start == len(f.in) {
				f.in = f.in[:0]
				f.start = 0
			}

			f.in = append(f.in, b[:n]...)
			f.ended = f.ended || status == muxEnd
			f.ready.Broadcast()
		}

		m.lock.Unlock()
	}
}

func (f *muxFlow) Read(b []byte) (int, error) {
	f.mux.lock.Lock()
	defer f.mux.lock.Unlock()

	for f.start == len(f.in) {
		if f.ended {
			return 0, io.EOF
		}

		if f.mux.err != nil {
			return 0, f.mux.err
		}

		f.ready.Wait()
	}

	n := copy(b, f.in[f.start:])
	f.start += n
	f.ready.Broadcast()

	return n, nil
}

func (f *muxFlow) Write(b []byte) (int, error) {
	m := f.mux

	m.write.Lock()
	defer m.write.Unlock()

	m.out = m.out[:0]

	for p := b; len(p) > 0; {
		n := min(len(p), muxDataMax)
		status := byte(muxKeep)

		if f.open != nil {
			status = muxNew
		}

		m.out = frame(m.out, f.id, status, muxData, f.open, p[:n])
		f.open = nil
		p = p[n:]
	}

	if _, err := m.conn.Write(m.out); err != nil {
		return 0, err
	}

	return len(b), nil
}

func (f *muxFlow) SetDeadline(t time.Time) error {
	return nil
}

func (f *muxFlow) Close() error {
	m := f.mux

	m.lock.Lock()
	ended := f.ended
	f.ended = true
	delete(m.flows, f.id)
	f.ready.Broadcast()
	m.lock.Unlock()

	if ended {
		return nil
	}

	m.write.Lock()
	defer m.write.Unlock()

	m.out = frame(m.out[:0], f.id, muxEnd, 0, nil, nil)
	_, err := m.conn.Write(m.out)

	return err
}
