/*
 * Datagrams: through a SOCKS5 server (UDP ASSOCIATE), or straight to a server
 * on -udp.
 *
 * The target listens on several addresses at the port of its TCP, and at port 53
 * if it may, as clients treat that in another way.
 */

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	echoAddress  = "127.0.0.1"
	otherAddress = "127.0.0.5" /* answers for the three */
	dnsAddress   = "127.0.0.6"

	maxDatagram = 65535
	windowBytes = 12 * 1024 /* Xray and v2ray have a queue of 16 KiB */
	attempts    = 4         /* of a flow */
	dnsQueries  = 5
)

var (
	/* say who asks; what begins with an odd byte the other one answers */

	coneAddresses = []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}

	from = flag.Int64("from", 1, "the least size of datagrams, the largest"+
		" is -size; each flow has its share")
	gone = flag.Int64("gone", 0, "size of a datagram that must get lost")
	cut  = flag.Int64("cut", 0, "but for its first bytes, so many")
	wait = flag.Duration("wait", 3*time.Second, "when a datagram is sent again")
	udp  = flag.String("udp", "", "address of a server of UDP, no SOCKS")

	/* few, as the target has one socket for many flows */

	window = flag.Int("window", 4, "datagrams at once")
)

/* the target */

func listenUDP(host string, port uint16) (*net.UDPConn, error) {
	addr := netip.AddrPortFrom(netip.MustParseAddr(host), port)
	return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
}

/* serves all addresses, returns that of DNS */

func serveUDP(port uint16) (string, error) {
	conns := make(map[string]*net.UDPConn)

	for _, host := range append(coneAddresses, echoAddress, otherAddress,
		dnsAddress) {

		c, err := listenUDP(host, port)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}

			return "", err
		}

		conns[host] = c
	}

	go answerUDP(conns[echoAddress], func(b []byte, _ netip.AddrPort) []byte {
		return b
	})

	for _, host := range coneAddresses {
		go answerUDP(conns[host], func(b []byte, peer netip.AddrPort) []byte {
			reply := append([]byte(peer.String()+" "), b...)

			if len(b) > 0 && b[0]&1 != 0 {
				conns[otherAddress].WriteToUDPAddrPort(reply, peer)
				return nil
			}

			return reply
		})
	}

	dns := conns[dnsAddress]

	/* another generator may run, so any address will do */

	for range 10 {
		n := rand.Uint32N(1 << 16)
		host := fmt.Sprintf("127.53.%d.%d", n>>8, n&255)

		if c, err := listenUDP(host, 53); err == nil {
			dns = c
			break
		}
	}

	go answerUDP(dns, func(b []byte, _ netip.AddrPort) []byte {
		return answerDNS(b)
	})

	return dns.LocalAddr().String(), nil
}

func answerUDP(c *net.UDPConn, answer func([]byte, netip.AddrPort) []byte) {
	b := make([]byte, maxDatagram)

	/* ICMP errors of others are no reason to end */

	for {
		n, peer, err := c.ReadFromUDPAddrPort(b)

		if errors.Is(err, net.ErrClosed) {
			return
		}

		if err != nil {
			continue
		}

		if reply := answer(b[:n], peer); reply != nil {
			c.WriteToUDPAddrPort(reply, peer)
		}
	}
}

/* a flow of datagrams of one socket */

type datagrams struct {
	control net.Conn /* the flow lasts as long as this */
	conn    *net.UDPConn
	buf     []byte
}

func associate() (*datagrams, error) {
	d := &datagrams{buf: make([]byte, maxDatagram)}
	relay := *udp

	if relay == "" {
		c, bound, err := dialSocks(3, "0.0.0.0:0")
		if err != nil {
			return nil, err
		}

		d.control = c
		relay = bound.String()
	}

	addr, err := net.ResolveUDPAddr("udp4", relay)

	if err == nil {
		d.conn, err = net.DialUDP("udp4", nil, addr)
	}

	if err != nil {
		d.Close()
		return nil, err
	}

	return d, nil
}

func (d *datagrams) Close() error {
	if d.control != nil {
		d.control.Close()
	}

	if d.conn != nil {
		return d.conn.Close()
	}

	return nil
}

/* RFC 1928, 7.  Procedure for UDP-based clients */

func (d *datagrams) send(to netip.AddrPort, b []byte) error {
	if *udp == "" {
		h := append([]byte{0, 0, 0, 1}, to.Addr().AsSlice()...)
		h = binary.BigEndian.AppendUint16(h, to.Port())
		b = append(h, b...)
	}

	_, err := d.conn.Write(b)
	return err
}

func (d *datagrams) receive(deadline time.Time) (netip.AddrPort, []byte,
	error) {

	var peer netip.AddrPort

	d.conn.SetReadDeadline(deadline)

	n, err := d.conn.Read(d.buf)
	if err != nil {
		return peer, nil, err
	}

	b := d.buf[:n]

	if *udp != "" {
		return netip.MustParseAddrPort(*target), b, nil
	}

	if n < 10 || !bytes.Equal(b[:4], []byte{0, 0, 0, 1}) {
		return peer, nil, fmt.Errorf("SOCKS datagram of %d bytes: %x", n,
			b[:min(n, 10)])
	}

	ip := netip.AddrFrom4([4]byte(b[4:8]))

	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[8:])), b[10:], nil
}

/* a datagram, and where its answer comes from */

type exchange struct {
	to   netip.AddrPort
	data []byte
	from netip.AddrPort
	done bool
}

/*
 * Sends, and sends again what has no answer, a few times in all.  The function
 * finds what an answer is for, nil if it is for nothing.  It may come twice, as
 * what it is for.
 */

func (d *datagrams) run(list []*exchange,
	find func(b []byte) *exchange) (int, error) {

	again, tries := 0, 0

	for len(list) > 0 {
		k, n := 1, len(list[0].data)

		for k < min(*window, len(list)) &&
			n+len(list[k].data) <= windowBytes {

			n += len(list[k].data)
			k++
		}

		now := list[:k]
		list = list[k:]

		for {
			for _, x := range now {
				if err := d.send(x.to, x.data); err != nil {
					return again, err
				}
			}

			left, err := d.answers(now, find)
			if err != nil {
				return again, err
			}

			if len(left) == 0 {
				break
			}

			now = left
			again += len(now)

			if tries++; tries == attempts {
				return again, fmt.Errorf("no answer to %d bytes from %s",
					len(now[0].data), now[0].to)
			}
		}
	}

	return again, nil
}

/* waits for all, returns what has no answer in time */

func (d *datagrams) answers(now []*exchange, find func(b []byte) *exchange) (
	[]*exchange, error) {

	deadline := time.Now().Add(*wait)

	for {
		var left []*exchange

		for _, x := range now {
			if !x.done {
				left = append(left, x)
			}
		}

		if len(left) == 0 {
			return nil, nil
		}

		peer, b, err := d.receive(deadline)

		if errors.Is(err, os.ErrDeadlineExceeded) {
			return left, nil
		}

		if err != nil {
			return nil, err
		}

		x := find(b)

		if x == nil || peer != x.from {
			return nil, fmt.Errorf("unexpected datagram of %d bytes from %s",
				len(b), peer)
		}

		x.done = true
	}
}

/* each comes back as it was: their sizes differ */

func (d *datagrams) echo(to netip.AddrPort, seed uint64, sizes []int64) (int,
	error) {

	var list []*exchange

	s := newStream(seed)
	sent := make(map[int]*exchange)

	for _, size := range sizes {
		x := &exchange{to: to, data: make([]byte, size), from: to}
		s.next(x.data)
		list = append(list, x)
		sent[len(x.data)] = x
	}

	if *gone > 0 {
		b := make([]byte, *gone)

		if *cut > 0 {
			x := &exchange{to: to, data: b, from: to}
			sent[int(*cut)] = x
			list = append([]*exchange{x}, list...)

		} else if err := d.send(to, b); err != nil {
			return 0, err
		}
	}

	return d.run(list, func(b []byte) *exchange {
		x := sent[len(b)]

		if x != nil && !bytes.HasPrefix(x.data, b) {
			return nil
		}

		return x
	})
}

/* what is sent to the three comes back, half of it from the other one */

func (d *datagrams) cone(port uint16, seed uint64) (int, error) {
	var list []*exchange
	var mapped string

	s := newStream(seed)
	sent := make(map[string]*exchange)
	other := netip.AddrPortFrom(netip.MustParseAddr(otherAddress), port)

	for i := range byte(6) {
		for _, host := range coneAddresses {
			to := netip.AddrPortFrom(netip.MustParseAddr(host), port)
			x := &exchange{to: to, data: make([]byte, 100), from: to}

			s.next(x.data)
			x.data[0] = i

			if i&1 != 0 {
				x.from = other
			}

			list = append(list, x)
			sent[string(x.data)] = x
		}
	}

	return d.run(list, func(b []byte) *exchange {
		addr, data, _ := bytes.Cut(b, []byte(" "))

		/* all have seen one address and port */

		if mapped == "" {
			mapped = string(addr)
		}

		if string(addr) != mapped {
			return nil
		}

		return sent[string(data)]
	})
}

/* RFC 1035, 4.1.  Format */

const dnsHeader = 12

func question(b []byte) []byte {
	i := dnsHeader

	for i < len(b) && b[i] != 0 {
		i += 1 + int(b[i])
	}

	if i += 5; i > len(b) {
		return nil
	}

	return b[dnsHeader:i]
}

/* the address of a name follows from it */

func addressOf(q []byte) []byte {
	sum := crc32.ChecksumIEEE(bytes.ToLower(q))
	return []byte{10, byte(sum >> 16), byte(sum >> 8), byte(sum)}
}

/* one A record for a query of one, no record for others, nothing for no query */

func answerDNS(b []byte) []byte {
	if len(b) < dnsHeader || b[2]&0xf8 != 0 || b[4] != 0 || b[5] != 1 {
		return nil
	}

	q := question(b)

	if q == nil {
		return nil
	}

	a := bytes.HasSuffix(q, []byte{0, 1, 0, 1})
	r := append([]byte{b[0], b[1], 0x84 | b[2]&1, 0x80, 0, 1, 0, 0, 0, 0, 0, 0},
		q...)

	if a {
		r[7] = 1
		r = append(r, 0xc0, dnsHeader, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		r = append(r, addressOf(q)...)
	}

	return r
}

func dnsQuery(id uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)

	name := fmt.Sprintf("n%08x", rand.Uint32())

	for _, label := range []string{name, "vmess", "test"} {
		b = append(append(b, byte(len(label))), label...)
	}

	return append(b, 0, 0, 1, 0, 1)
}

func goodAnswer(query, b []byte) bool {
	q := query[dnsHeader:]

	/* an answer, no error, one question, one record or more */

	if len(b) < dnsHeader || b[2]&0xf8 != 0x80 || b[3]&15 != 0 ||
		b[4] != 0 || b[5] != 1 || b[6] != 0 || b[7] == 0 ||
		!bytes.Equal(question(b), q) {

		return false
	}

	b = b[dnsHeader+len(q):]

	/* the name of the record may be a pointer */

	name := q[:len(q)-4]

	if bytes.HasPrefix(b, []byte{0xc0, dnsHeader}) {
		b = b[2:]

	} else if bytes.HasPrefix(b, name) {
		b = b[len(name):]

	} else {
		return false
	}

	return len(b) >= 14 && bytes.Equal(b[:4], []byte{0, 1, 0, 1}) &&
		bytes.Equal(b[8:10], []byte{0, 4}) &&
		bytes.Equal(b[10:14], addressOf(q))
}

func (d *datagrams) dns(to netip.AddrPort) (int, error) {
	var list []*exchange

	sent := make(map[uint16]*exchange)

	for len(list) < dnsQueries {
		id := uint16(rand.Uint32())

		if sent[id] != nil {
			continue
		}

		x := &exchange{to: to, data: dnsQuery(id), from: to}
		sent[id] = x
		list = append(list, x)
	}

	return d.run(list, func(b []byte) *exchange {
		if len(b) < dnsHeader {
			return nil
		}

		x := sent[binary.BigEndian.Uint16(b)]

		if x == nil || !goodAnswer(x.data, b) {
			return nil
		}

		return x
	})
}

/* the operations of datagrams; i is the number of the flow */

func runDatagrams(op string, i int, seed uint64) (int, error) {
	to, err := netip.ParseAddrPort(*target)
	if err != nil {
		return 0, err
	}

	d, err := associate()
	if err != nil {
		return 0, err
	}

	defer d.Close()

	if d.control != nil {
		d.control.SetDeadline(time.Now().Add(*timeout))
	}

	var sizes []int64
	var again int

	switch op {

	case "udp":
		for n := *from + int64(i); n <= *size; n += int64(*nflows) {
			sizes = append(sizes, n)
		}

		again, err = d.echo(to, seed, sizes)

	case "cone":
		again, err = d.cone(to.Port(), seed)

	case "dns":
		again, err = d.dns(to)
	}

	/* the SOCKS server must not have ended it */

	if err == nil && d.control != nil {
		d.control.SetReadDeadline(time.Now())

		if _, e := d.control.Read(make([]byte, 1)); e == io.EOF {
			err = errors.New("the association was closed")
		}
	}

	return again, err
}
