/*
 * QUIC for the light client, all flows as streams of one connection; and
 * clients that are no good:
 *
 *   probe    what is no VMess, or not quite, on a connection each; prints what
 *            came of it, a line for each
 *   refused  sends -size random bytes, which must be answered by an end alone
 *   connection
 *            opens no stream, keeps its connection, and the server must end it
 *   abort    streams and connections that end at a random point, by -seed
 */

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/quic"
)

var (
	vmessQUIC = flag.Bool("quic", false, "use QUIC, with the root of -ca")
	vmessALPN = flag.String("alpn", "h2", "with -quic")
)

/* a socket that can fall silent, as if its machine were gone */

type socket struct {
	*net.UDPConn
	silent atomic.Bool
}

func (s *socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	if s.silent.Load() {
		return len(b), nil
	}

	return s.UDPConn.WriteTo(b, addr)
}

type quicClient struct {
	*quic.Conn
	endpoint *quic.Endpoint
	socket   *socket
}

func openQUIC() (*quicClient, error) {
	conf, err := tlsConfig()
	if err != nil {
		return nil, err
	}

	conf = conf.Clone()
	conf.NextProtos = []string{*vmessALPN}
	conf.MinVersion = tls.VersionTLS13

	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}

	s := &socket{UDPConn: udp}

	endpoint, err := quic.NewEndpoint(s, nil)
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()

	conn, err := endpoint.Dial(ctx, "udp", *vmessServer, &quic.Config{
		TLSConfig:       conf,
		KeepAlivePeriod: time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("QUIC: %w", err)
	}

	return &quicClient{conn, endpoint, s}, nil
}

func (q *quicClient) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	q.endpoint.Close(ctx)
}

/* a stream as a net.Conn */

type quicStream struct {
	*quic.Stream
	conn *quic.Conn
}

func (q *quicClient) open() (*quicStream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()

	s, err := q.NewStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("QUIC stream: %w", err)
	}

	return &quicStream{s, q.Conn}, nil
}

func (s *quicStream) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	if err == nil {
		err = s.Flush()
	}

	return n, err
}

func (s *quicStream) CloseWrite() error {
	s.Stream.CloseWrite()
	return nil
}

func (s *quicStream) Close() error {
	s.Stream.CloseRead()
	s.Stream.CloseWrite()
	return nil
}

func (s *quicStream) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(s.conn.LocalAddr())
}

func (s *quicStream) RemoteAddr() net.Addr {
	return net.UDPAddrFromAddrPort(s.conn.RemoteAddr())
}

func (s *quicStream) SetReadDeadline(t time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), t)
	context.AfterFunc(ctx, cancel)
	s.SetReadContext(ctx)
	return nil
}

func (s *quicStream) SetWriteDeadline(t time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), t)
	context.AfterFunc(ctx, cancel)
	s.SetWriteContext(ctx)
	return nil
}

func (s *quicStream) SetDeadline(t time.Time) error {
	s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

/* the connection that all flows share, and its end with the process */

var (
	shared     = sync.OnceValues(openQUIC)
	sharedUsed atomic.Bool
)

func dialQUIC() (net.Conn, error) {
	sharedUsed.Store(true)

	q, err := shared()
	if err != nil {
		return nil, err
	}

	return q.open()
}

func closeQUIC() {
	if sharedUsed.Load() {
		if q, err := shared(); err == nil {
			q.Close()
		}
	}
}

/* how a stream ends, and after how many bytes */

func outcome(s *quicStream) string {
	n, err := io.Copy(io.Discard, s)

	var code quic.StreamErrorCode

	switch {
	case err == nil:
		return fmt.Sprintf("%d bytes, end", n)
	case errors.As(err, &code):
		return fmt.Sprintf("%d bytes, reset %d", n, uint64(code))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%d bytes, open", n)
	}

	return fmt.Sprintf("%d bytes, %v", n, err)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	newStream(rand.Uint64()).next(b)
	return b
}

func probe() error {
	id, err := userID()
	if err != nil {
		return err
	}

	ip, port, err := targetAddr()
	if err != nil {
		return err
	}

	client := func(id []byte, ago time.Duration) *vmessConn {
		vc, err := newVMess(id, commandTCP, ip, port, time.Now().Add(-ago))
		if err != nil {
			panic(err)
		}

		return vc
	}

	header := func(id []byte, ago time.Duration) []byte {
		return client(id, ago).header
	}

	changed := func(i int) []byte {
		b := header(id, 0)
		b[(i+len(b))%len(b)] ^= 1
		return b
	}

	first := client(id, 0)
	good := bytes.Clone(first.header)
	whole := header(id, 0)

	probes := []struct {
		name string
		data []byte
		fin  bool
	}{
		{"nothing", nil, false},
		{"an end", nil, true},
		{"a byte", randomBytes(1), false},
		{"a byte and an end", randomBytes(1), true},
		{"15 bytes", randomBytes(15), false},
		{"16 bytes", randomBytes(16), false},
		{"17 bytes and an end", randomBytes(17), true},
		{"50 bytes", randomBytes(50), false},
		{"256 KiB", randomBytes(256 << 10), false},
		{"256 KiB and an end", randomBytes(256 << 10), true},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), false},
		{"half a header", whole[:len(whole)/2], false},
		{"half a header and an end", whole[:len(whole)/2], true},
		{"an unknown user", header(randomBytes(16), 0), false},
		{"an old time", header(id, time.Hour), false},
		{"a bad id", changed(3), false},
		{"a bad length", changed(20), false},
		{"a bad tag", changed(-1), false},
		{"again", good, false},
	}

	/* what is sent again has to be good before */

	q, err := openQUIC()
	if err != nil {
		return err
	}

	defer q.Close()

	s, err := q.open()
	if err != nil {
		return err
	}

	s.SetDeadline(time.Now().Add(*timeout))

	first.Conn = s

	if _, err = first.Write(request(opEcho, 64, 0)); err != nil {
		return err
	}

	if _, err = first.Write(make([]byte, 64)); err != nil {
		return err
	}

	if _, err = io.ReadFull(first, make([]byte, 64)); err != nil {
		return fmt.Errorf("a good header: %w", err)
	}

	results := make([]string, len(probes))

	var wg sync.WaitGroup

	for i, p := range probes {
		wg.Add(1)

		go func() {
			defer wg.Done()

			q, err := openQUIC()
			if err != nil {
				results[i] = err.Error()
				return
			}

			defer q.Close()

			s, err := q.open()
			if err != nil {
				results[i] = err.Error()
				return
			}

			s.SetDeadline(time.Now().Add(*timeout))
			s.Write(p.data)

			if p.fin {
				s.CloseWrite()
			}

			results[i] = outcome(s)
		}()
	}

	wg.Wait()

	for i, p := range probes {
		fmt.Printf("%s: %s\n", p.name, results[i])
	}

	return nil
}

/* one of many that are refused */

func refused() error {
	c, err := dialQUIC()
	if err != nil {
		return err
	}

	s := c.(*quicStream)

	s.SetDeadline(time.Now().Add(*timeout))

	if _, err = s.Write(randomBytes(int(*size))); err != nil {
		return err
	}

	if got := outcome(s); got != "0 bytes, end" {
		return errors.New(got)
	}

	return nil
}

func connectionEnds() error {
	q, err := openQUIC()
	if err != nil {
		return err
	}

	defer q.Close()

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()

	var end *quic.ApplicationError

	if err = q.Wait(ctx); errors.As(err, &end) && end.Code == 0 {
		return nil
	}

	return fmt.Errorf("not the end of a connection: %w", err)
}

/* Errors are what it is about: those of the dial alone count. */

func abortQUIC(seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 0))

	q, err := openQUIC()
	if err != nil {
		return err
	}

	var wg sync.WaitGroup

	for range rnd.IntN(5) {
		seed := rnd.Uint64()

		wg.Add(1)

		go func() {
			defer wg.Done()
			abortStream(q, rand.New(rand.NewPCG(seed, 1)))
		}()
	}

	how := rnd.IntN(4)

	if how > 1 {
		wg.Wait()
	} else {
		time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
	}

	switch how {
	case 0:
		q.socket.silent.Store(true)
	case 1, 2:
		q.Abort(&quic.ApplicationError{Code: 77, Reason: "abort"})
	}

	q.Close()
	wg.Wait()

	return nil
}

func abortStream(q *quicClient, rnd *rand.Rand) {
	id, err := userID()
	if err != nil {
		return
	}

	ip, port, err := targetAddr()
	if err != nil {
		return
	}

	vc, err := newVMess(id, commandTCP, ip, port, time.Now())
	if err != nil {
		return
	}

	s, err := q.open()
	if err != nil {
		return
	}

	s.SetDeadline(time.Now().Add(time.Second))

	vc.Conn = s

	/* from nothing to all of it, each size as often as twice as much */

	left := rnd.Int64N(2 << rnd.IntN(23))

	switch rnd.IntN(4) {
	case 0:
		s.Write(vc.header[:rnd.IntN(len(vc.header))])

	case 1:
		s.Write(randomBytes(int(left)))

	case 2:
		vc.Write(request(opDown, 8<<20, 0))
		io.CopyN(io.Discard, vc, left)

	case 3:
		vc.Write(request(opUp, 8<<20, 0))
		send(vc, left, 0, new(atomic.Int64))
	}

	switch rnd.IntN(5) {
	case 0:
		s.Reset(uint64(rnd.IntN(1000)))
	case 1:
		s.CloseRead()
	case 2:
		s.Reset(1)
		s.CloseRead()
	case 3:
		vc.Close()
	}
}
