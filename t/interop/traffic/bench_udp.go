/*
 * Datagrams of a benchmark, with -vmess: -flows flows of -count datagrams of
 * -size bytes, -outstanding at once, which come back from a target in this
 * process.
 *
 * packets has flows with the command UDP, packets-xudp those of XUDP.
 */

package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

var (
	count       = flag.Int64("count", 10000, "datagrams of a flow")
	outstanding = flag.Int64("outstanding", 16, "datagrams at once")
)

var packetTarget = sync.OnceValues(func() (*net.UDPAddr, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}

	c.SetReadBuffer(4 << 20)

	go func() {
		b := make([]byte, 65536)

		for {
			n, addr, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}

			c.WriteToUDPAddrPort(b[:n], addr)
		}
	}()

	return c.LocalAddr().(*net.UDPAddr), nil
})

func packets(op string) error {
	addr, err := packetTarget()
	if err != nil {
		return err
	}

	ip, port := addr.IP.To4(), uint16(addr.Port)

	var c net.Conn

	if op == "packets-xudp" {
		m, err := openMux()
		if err != nil {
			return err
		}

		c = m.add(0, networkUDP, ip, port, 1)

	} else {
		c, err = openVMess(commandUDP, ip, port)
		if err != nil {
			return err
		}
	}

	defer c.Close()

	var lock sync.Mutex
	var sent, received, lost int64

	/* all are of one size, so what is read together can be told apart */

	out, in := make([]byte, *size), make([]byte, *size)

	send := func(n int64) error {
		for ; n > 0 && sent < *count+lost; n-- {
			if _, err := c.Write(out); err != nil {
				return err
			}

			sent++
		}

		return nil
	}

	/* none comes: those on their way are lost */

	done := make(chan struct{})
	defer close(done)

	go func() {
		var last int64

		for {
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}

			lock.Lock()

			if received == last {
				n := sent - received - lost
				lost += n
				send(n)
			}

			last = received

			lock.Unlock()
		}
	}()

	lock.Lock()
	err = send(*outstanding)
	lock.Unlock()

	for err == nil && received < *count {
		if _, err = io.ReadFull(c, in); err != nil {
			break
		}

		lock.Lock()
		received++
		err = send(1)
		lock.Unlock()
	}

	if lost > 0 {
		fmt.Println("lost", lost)
	}

	return err
}
