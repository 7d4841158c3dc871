/*
 * Traffic generator of t/interop and t/bench: a target server and the clients
 * that talk to it through a proxy under test.
 *
 *     traffic serve
 *         listens on a free loopback port, prints its address and that of a
 *         server of DNS, runs until stdin ends
 *
 *     traffic relay [flags]
 *         a bad network, see relay.go
 *
 *     traffic OP [flags]
 *         runs -flows flows (all at once) of OP to -target, each -times times
 *         one after another; prints one line; exit code 1 on any failure
 *
 * OP             what one flow does
 *
 *   down         receives -size bytes, compares each with what was due, and
 *                the SHA-256 of all; an end of stream must follow
 *   up           sends -size bytes; the server compares and returns SHA-256
 *   echo         sends -size bytes and receives them back, both at once
 *   slow-reader  as down, but reads nothing until the server is blocked, which
 *                must happen before all is sent; then reads in small pieces
 *   slow-target  as up, but the server reads nothing until we are blocked
 *   half-close   as up, but the server learns the length from our half-close
 *   mixed        down, up and echo in turn, by flow
 *   bulk-down,   as down and up for a benchmark: nothing is compared but the
 *   bulk-up      number of bytes
 *   new          sends and receives -size bytes, does not wait for the end
 *   ping         sends and receives 64 bytes -size times, one after another
 *   packets,     datagrams for a benchmark, see bench_udp.go
 *   packets-xudp
 *   idle         sends and receives -size bytes, holds the flow until stdin
 *                ends, and does it again
 *   udp          sends datagrams of -from to -size bytes, which come back; one
 *                of -gone bytes before them must not
 *   cone         sends datagrams to three servers from one socket: all answer to
 *                one address, and so does one that nothing was sent to
 *   dns          sends queries of DNS to -target
 *   probe,       clients of QUIC that are no good, see quic.go
 *   refused,
 *   connection,
 *   abort
 *
 * Flows go to -socks, a SOCKS5 server, or with -vmess straight to a VMess
 * server (vmess.go).
 */

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bufSize = 256 * 1024

	opDown       = 'D'
	opUp         = 'U'
	opStalledUp  = 'S'
	opEcho       = 'E'
	opHalfClose  = 'H'
	opBulkDown   = 'd'
	opBulkUp     = 'u'
	opSent       = 'q' /* control: how much of flow "seed" was sent? */
	opRelease    = 'r' /* control: let stalled flow "seed" read */
	requestSize  = 17
	blockedPolls = 10
	pollInterval = 50 * time.Millisecond
)

var (
	timeout = flag.Duration("timeout", time.Minute, "limit of one flow")
	size    = flag.Int64("size", 1<<20, "bytes of one flow")
	nflows  = flag.Int("flows", 1, "parallel flows")
	times   = flag.Int("times", 1, "how often each flow is repeated")
	target  = flag.String("target", "", "address of \"traffic serve\"")
	socks   = flag.String("socks", "", "address of a SOCKS5 server")
	seed0   = flag.Uint64("seed", 0, "first seed, random if 0")
)

/* the bytes of a flow: endless, different for each seed */

type stream struct {
	rnd *rand.ChaCha8
}

func newStream(seed uint64) *stream {
	var key [32]byte

	binary.BigEndian.PutUint64(key[:], seed)

	return &stream{rand.NewChaCha8(key)}
}

func (s *stream) next(b []byte) {
	s.rnd.Read(b)
}

func request(op byte, size int64, seed uint64) []byte {
	b := make([]byte, requestSize)

	b[0] = op
	binary.BigEndian.PutUint64(b[1:], uint64(size))
	binary.BigEndian.PutUint64(b[9:], seed)

	return b
}

/* sends size bytes of the stream, adds to progress, returns their hash */

func send(w io.Writer, size int64, seed uint64, progress *atomic.Int64) (
	[]byte, error) {

	s := newStream(seed)
	h := sha256.New()
	b := make([]byte, bufSize)

	for size > 0 {
		n := min(int64(len(b)), size)

		s.next(b[:n])
		h.Write(b[:n])

		for p := b[:n]; len(p) > 0; {
			k := min(len(p), 32*1024)

			if _, err := w.Write(p[:k]); err != nil {
				return nil, err
			}

			progress.Add(int64(k))
			p = p[k:]
		}

		size -= n
	}

	return h.Sum(nil), nil
}

/* receives size bytes (or until the end, if size is -1) and compares */

func receive(r io.Reader, size int64, seed uint64, piece int) (
	[]byte, int64, error) {

	s := newStream(seed)
	h := sha256.New()
	b := make([]byte, piece)
	want := make([]byte, bufSize)
	unused := want[:0]

	var total int64

	for size < 0 || total < size {
		max := int64(len(b))

		if size >= 0 {
			max = min(max, size-total)
		}

		n, err := r.Read(b[:max])

		h.Write(b[:n])

		for p := b[:n]; len(p) > 0; {
			if len(unused) == 0 {
				s.next(want)
				unused = want
			}

			k := min(len(p), len(unused))

			if !bytes.Equal(p[:k], unused[:k]) {
				i := 0

				for p[i] == unused[i] {
					i++
				}

				return nil, total, fmt.Errorf("byte %d differs",
					total+int64(i))
			}

			total += int64(k)
			p = p[k:]
			unused = unused[k:]
		}

		if err == io.EOF && size < 0 {
			break
		}

		if err != nil && (size < 0 || total < size) {
			return nil, total, fmt.Errorf("after %d bytes: %w", total, err)
		}
	}

	return h.Sum(nil), total, nil
}

/* the target server */

type flow struct {
	sent    atomic.Int64
	release chan struct{}
	once    sync.Once
}

var flows sync.Map

func flowOf(seed uint64) *flow {
	f, _ := flows.LoadOrStore(seed, &flow{release: make(chan struct{})})
	return f.(*flow)
}

func serve() error {
	var ln net.Listener
	var dns string
	var err error

	/* the port must be free for UDP as well */

	for range 20 {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}

		port := ln.Addr().(*net.TCPAddr).AddrPort().Port()

		if dns, err = serveUDP(port); err == nil {
			break
		}

		ln.Close()
	}

	if err != nil {
		return err
	}

	fmt.Println(ln.Addr(), dns)

	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()

	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}

		go func() {
			defer c.Close()

			if err := serveFlow(c.(*net.TCPConn)); err != nil {
				fmt.Fprintln(os.Stderr, "target:", err)
			}
		}()
	}
}

func serveFlow(c *net.TCPConn) error {
	req := make([]byte, requestSize)

	c.SetDeadline(time.Now().Add(10 * time.Minute))

	if _, err := io.ReadFull(c, req); err != nil {
		return err
	}

	size := int64(binary.BigEndian.Uint64(req[1:]))
	seed := binary.BigEndian.Uint64(req[9:])

	switch req[0] {

	case opDown:
		/* the flow stays known: all sent must not look like nothing sent */

		_, err := send(c, size, seed, &flowOf(seed).sent)
		return err

	case opStalledUp:
		f := flowOf(seed)
		defer flows.Delete(seed)

		/* a small window lets the sender feel it soon */

		c.SetReadBuffer(64 * 1024)

		select {
		case <-f.release:
		case <-time.After(*timeout):
			return errors.New("stalled flow was not released")
		}

		return answer(c, size, seed)

	case opUp:
		return answer(c, size, seed)

	case opHalfClose:
		return answer(c, -1, seed)

	case opEcho:
		_, err := io.CopyBuffer(struct{ io.Writer }{c},
			io.LimitReader(c, size), make([]byte, 64*1024))
		return err

	case opBulkDown:
		return bulkSend(c, size)

	case opBulkUp:
		if err := bulkReceive(c, size); err != nil {
			return err
		}

		_, err := c.Write([]byte{'k'})
		return err

	case opSent:
		b := make([]byte, 8)
		binary.BigEndian.PutUint64(b, uint64(flowOf(seed).sent.Load()))
		_, err := c.Write(b)
		return err

	case opRelease:
		f := flowOf(seed)
		f.once.Do(func() { close(f.release) })
		_, err := c.Write([]byte{'k'})
		return err
	}

	return fmt.Errorf("unknown operation %q", req[0])
}

func answer(c net.Conn, size int64, seed uint64) error {
	sum, _, err := receive(c, size, seed, bufSize)
	if err != nil {
		return err
	}

	_, err = c.Write(sum)
	return err
}

func bulkSend(w io.Writer, size int64) error {
	b := make([]byte, bufSize)

	newStream(1).next(b)

	for size > 0 {
		n := min(int64(len(b)), size)

		if _, err := w.Write(b[:n]); err != nil {
			return err
		}

		size -= n
	}

	return nil
}

func bulkReceive(r io.Reader, size int64) error {
	b := make([]byte, bufSize)

	for size > 0 {
		n, err := r.Read(b[:min(int64(len(b)), size)])

		size -= int64(n)

		if err != nil && size > 0 {
			return fmt.Errorf("%d bytes missing: %w", size, err)
		}
	}

	return nil
}

/* the clients */

type halfCloser interface {
	CloseWrite() error
}

func dial() (net.Conn, error) {
	if *vmessServer != "" {
		return dialVMess()
	}

	if *socks == "" {
		return net.DialTimeout("tcp", *target, *timeout)
	}

	c, _, err := dialSocks(1, *target)
	return c, err
}

/* a command to the SOCKS server; returns the address in its reply, too */

func dialSocks(command byte, address string) (net.Conn, netip.AddrPort,
	error) {

	var bound netip.AddrPort

	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, bound, err
	}

	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, bound, err
	}

	c, err := net.DialTimeout("tcp", *socks, *timeout)
	if err != nil {
		return nil, bound, err
	}

	c.SetDeadline(time.Now().Add(*timeout))

	/* RFC 1928, 3. and 4. */

	b := []byte{5, 1, 0}

	if _, err = c.Write(b); err != nil {
		c.Close()
		return nil, bound, err
	}

	reply := make([]byte, 10)

	if _, err = io.ReadFull(c, reply[:2]); err != nil {
		c.Close()
		return nil, bound, fmt.Errorf("SOCKS greeting: %w", err)
	}

	b = []byte{5, command, 0}
	ip := net.ParseIP(host)

	switch {
	case ip.To4() != nil:
		b = append(append(b, 1), ip.To4()...)
	case ip != nil:
		b = append(append(b, 4), ip...)
	default:
		b = append(append(b, 3, byte(len(host))), host...)
	}

	b = binary.BigEndian.AppendUint16(b, uint16(port))

	if _, err = c.Write(b); err != nil {
		c.Close()
		return nil, bound, err
	}

	if _, err = io.ReadFull(c, reply); err != nil {
		c.Close()
		return nil, bound, fmt.Errorf("SOCKS reply: %w", err)
	}

	if reply[1] != 0 || reply[3] != 1 {
		c.Close()
		return nil, bound, fmt.Errorf("SOCKS reply: code %d, address type %d",
			reply[1], reply[3])
	}

	bound = netip.AddrPortFrom(netip.AddrFrom4([4]byte(reply[4:8])),
		binary.BigEndian.Uint16(reply[8:]))

	return c, bound, nil
}

/* a short question to the target itself, past the proxies */

func control(op byte, seed uint64, answer []byte) error {
	c, err := net.DialTimeout("tcp", *target, *timeout)
	if err != nil {
		return err
	}

	defer c.Close()

	c.SetDeadline(time.Now().Add(*timeout))

	if _, err = c.Write(request(op, 0, seed)); err != nil {
		return err
	}

	_, err = io.ReadFull(c, answer)
	return err
}

/* waits until the number of bytes sent stays the same */

func blocked(sent func() (int64, error)) error {
	var last int64

	deadline := time.Now().Add(*timeout)

	for same := 0; same < blockedPolls; {
		if time.Now().After(deadline) {
			return errors.New("the sender was never blocked")
		}

		time.Sleep(pollInterval)

		n, err := sent()
		if err != nil {
			return err
		}

		if n >= *size {
			return fmt.Errorf("no backpressure: all of %d bytes sent"+
				" while nobody reads", n)
		}

		if n == 0 || n != last {
			same = 0
			last = n
			continue
		}

		same++
	}

	return nil
}

func end(c net.Conn) error {
	n, err := c.Read(make([]byte, 1))

	if n != 0 {
		return errors.New("data after the end")
	}

	if err != io.EOF {
		return fmt.Errorf("at the end: %w", err)
	}

	return nil
}

func runFlow(op string, seed uint64, held *sync.WaitGroup,
	release chan struct{}) error {

	var sent atomic.Int64

	if op == "packets" || op == "packets-xudp" {
		return packets(op)
	}

	hold := op == "idle"

	if held != nil {
		defer func() {
			if hold {
				held.Done()
			}
		}()
	}

	c, err := dial()
	if err != nil {
		return err
	}

	defer c.Close()

	c.SetDeadline(time.Now().Add(*timeout))

	stalled := false

	if t, ok := c.(*net.TCPConn); ok && op == "slow-reader" {
		/* sockets of proxies on the way grow as they like, ours do not */

		t.SetReadBuffer(64 * 1024)
	}

	code := map[string]byte{
		"down": opDown, "slow-reader": opDown,
		"up": opUp, "slow-target": opStalledUp, "half-close": opHalfClose,
		"echo": opEcho, "new": opEcho, "ping": opEcho, "idle": opEcho,
		"bulk-down": opBulkDown, "bulk-up": opBulkUp,
	}[op]

	length := *size

	if op == "idle" || op == "ping" {
		length = 1 << 62
	}

	req := request(code, length, seed)

	if op == "idle" || op == "new" {

		/* the request goes together with the data */

		b := make([]byte, *size)
		newStream(seed).next(b)
		req = append(req, b...)
	}

	if _, err = c.Write(req); err != nil {
		return err
	}

	switch op {

	case "slow-reader":
		err = blocked(func() (int64, error) {
			b := make([]byte, 8)
			err := control(opSent, seed, b)
			return int64(binary.BigEndian.Uint64(b)), err
		})

		if err != nil {
			return err
		}

		/* a piece at a time, each after a pause, then as fast as it goes */

		return func() error {
			r := io.MultiReader(&pausing{r: c, left: 200}, c)

			if _, _, err := receive(r, *size, seed, bufSize); err != nil {
				return err
			}

			return end(c)
		}()

	case "down":
		if _, _, err = receive(c, *size, seed, bufSize); err != nil {
			return err
		}

		return end(c)

	case "slow-target":
		stalled = true
		fallthrough

	case "up", "half-close":
		done := make(chan error, 1)

		if stalled {
			go func() {
				err := blocked(func() (int64, error) {
					return sent.Load(), nil
				})

				if err != nil {
					c.Close()
					done <- err
					return
				}

				done <- control(opRelease, seed, make([]byte, 1))
			}()

		} else {
			done <- nil
		}

		sum, err := send(c, *size, seed, &sent)

		if e := <-done; e != nil {
			return e
		}

		if err != nil {
			return err
		}

		if op == "half-close" {
			hc, ok := c.(halfCloser)
			if !ok {
				return errors.New("cannot half-close")
			}

			if err = hc.CloseWrite(); err != nil {
				return err
			}
		}

		b := make([]byte, len(sum))

		if n, err := io.ReadFull(c, b); err != nil {
			return fmt.Errorf("%d bytes of the server's sum: %w", n, err)
		}

		if !bytes.Equal(b, sum) {
			return errors.New("the server received something else")
		}

		return end(c)

	case "echo":
		done := make(chan error, 1)

		go func() {
			_, err := send(c, *size, seed, &sent)
			done <- err
		}()

		if _, _, err = receive(c, *size, seed, bufSize); err != nil {
			c.Close()
			<-done
			return err
		}

		if err = <-done; err != nil {
			return err
		}

		return end(c)

	case "new":
		_, _, err = receive(c, *size, seed, 1024)
		return err

	case "ping":
		b := make([]byte, 64)

		for i := int64(0); i < *size; i++ {
			if _, err = c.Write(b); err != nil {
				return err
			}

			if _, err = io.ReadFull(c, b); err != nil {
				return err
			}
		}

		return nil

	case "idle":
		if _, _, err = receive(c, *size, seed, 1024); err != nil {
			return err
		}

		held.Done()
		hold = false
		<-release

		c.SetDeadline(time.Now().Add(*timeout))

		b := req[requestSize:]

		if _, err = c.Write(b); err != nil {
			return err
		}

		again := make([]byte, len(b))

		if _, err = io.ReadFull(c, again); err != nil {
			return fmt.Errorf("after the hold: %w", err)
		}

		if !bytes.Equal(again, b) {
			return errors.New("other bytes after the hold")
		}

		return nil

	case "bulk-down":
		return bulkReceive(c, *size)

	case "bulk-up":
		if err = bulkSend(c, *size); err != nil {
			return err
		}

		return bulkReceive(c, 1)
	}

	return fmt.Errorf("unknown operation %q", op)
}

type pausing struct {
	r    io.Reader
	left int
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}

	p.left--
	time.Sleep(time.Millisecond)

	return p.r.Read(b[:min(len(b), 1000)])
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: traffic serve | OP [flags]")
		os.Exit(2)
	}

	op := os.Args[1]

	flag.CommandLine.Parse(os.Args[2:])

	if op == "serve" {
		fmt.Fprintln(os.Stderr, "traffic:", serve())
		os.Exit(1)
	}

	if op == "relay" {
		fmt.Fprintln(os.Stderr, "traffic:", runRelay())
		os.Exit(1)
	}

	if op == "probe" {
		if err := probe(); err != nil {
			fmt.Fprintln(os.Stderr, "traffic:", err)
			os.Exit(1)
		}

		return
	}

	if *size <= 0 || (op == "idle" || op == "new") && *size > 1024 {
		fmt.Fprintln(os.Stderr, "traffic: bad -size")
		os.Exit(2)
	}

	if *seed0 == 0 {
		*seed0 = rand.Uint64()
	}

	var wg, held sync.WaitGroup
	var failures, again atomic.Int64

	release := make(chan struct{})
	start := time.Now()
	mixed := []string{"down", "up", "echo"}

	if op == "idle" {
		held.Add(*nflows)
	}

	for i := 0; i < *nflows; i++ {
		name := op

		if op == "mixed" {
			name = mixed[i%len(mixed)]
		}

		wg.Add(1)

		go func() {
			defer wg.Done()

			for j := 0; j < *times; j++ {
				seed := *seed0 + uint64(i)<<32 + uint64(j)

				var err error

				switch op {

				case "udp", "cone", "dns":
					var n int
					n, err = runDatagrams(op, i, seed)
					again.Add(int64(n))

				case "refused":
					err = refused()

				case "connection":
					err = connectionEnds()

				case "abort":
					err = abortQUIC(seed)

				default:
					err = runFlow(name, seed, &held, release)
				}

				if err != nil {
					if failures.Add(1) <= 10 {
						fmt.Fprintf(os.Stderr, "%s, flow %d: %v\n",
							name, i, err)
					}

					return
				}
			}
		}()
	}

	if op == "idle" {
		held.Wait()
		fmt.Println("holding", int64(*nflows)-failures.Load())
		bufio.NewReader(os.Stdin).ReadString('\n')
		close(release)
	}

	wg.Wait()
	closeQUIC()

	fmt.Printf("%s flows:%d failed:%d bytes:%d again:%d seconds:%.3f\n",
		op, *nflows, failures.Load(),
		int64(*nflows)*int64(*times)**size, again.Load(),
		time.Since(start).Seconds())

	if failures.Load() != 0 {
		os.Exit(1)
	}
}
