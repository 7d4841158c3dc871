/*
 * A bad network on loopback: a relay of datagrams between the clients that send
 * to it and a server.
 *
 *     traffic relay -target SERVER -loss 10 -late 10 -seed N
 *         prints its address, runs until stdin ends
 *
 * In both directions -loss percent of datagrams are dropped, and -late percent
 * come up to 20 ms late, behind those that were sent after them.
 */

package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

var (
	loss = flag.Int("loss", 0, "percent of datagrams that are lost")
	late = flag.Int("late", 0, "percent of datagrams that come late")
)

type relay struct {
	sync.Mutex
	rnd     *rand.Rand
	clients map[netip.AddrPort]*net.UDPConn
}

func runRelay() error {
	front, err := listenUDP("127.0.0.1", 0)
	if err != nil {
		return err
	}

	server, err := netip.ParseAddrPort(*target)
	if err != nil {
		return err
	}

	r := &relay{rnd: rand.New(rand.NewPCG(*seed0, 0)),
		clients: map[netip.AddrPort]*net.UDPConn{}}

	fmt.Println(front.LocalAddr())

	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()

	b := make([]byte, 65536)

	for {
		n, from, err := front.ReadFromUDPAddrPort(b)
		if err != nil {
			return err
		}

		back := r.clients[from]

		if back == nil {
			back, err = net.DialUDP("udp", nil,
				net.UDPAddrFromAddrPort(server))
			if err != nil {
				return err
			}

			back.SetReadBuffer(4 << 20)
			r.clients[from] = back

			go r.answers(front, back, from)
		}

		r.pass(b[:n], func(b []byte) { back.Write(b) })
	}
}

func (r *relay) answers(front, back *net.UDPConn, to netip.AddrPort) {
	b := make([]byte, 65536)

	for {
		n, err := back.Read(b)

		/* the server's port may not be there yet, or no longer */

		if err != nil {
			continue
		}

		r.pass(b[:n], func(b []byte) { front.WriteToUDPAddrPort(b, to) })
	}
}

func (r *relay) pass(b []byte, write func(b []byte)) {
	r.Lock()
	fate := r.rnd.IntN(100)
	delay := time.Duration(r.rnd.Int64N(int64(20 * time.Millisecond)))
	r.Unlock()

	switch {

	case fate < *loss:

	case fate < *loss+*late:
		b = append([]byte(nil), b...)
		time.AfterFunc(delay, func() { write(b) })

	default:
		write(b)
	}
}
