/*
 * WebSocket for the light client: one binary frame a write, as real clients do,
 * and no control frames but the close of the server, which is the end.
 */

package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

const (
	wsMaxHeader = 14
	wsBufSize   = 64 * 1024

	wsFin    = 0x80
	wsMasked = 0x80
	wsBinary = 2
	wsClose  = 8
)

type webSocket struct {
	net.Conn

	r    *bufio.Reader
	left uint64 /* of the frame that is being read */
	out  []byte
}

func dialWebSocket(c net.Conn, path string) (net.Conn, error) {
	nonce := make([]byte, 16)
	rand.Read(nonce)

	key := base64.StdEncoding.EncodeToString(nonce)
	r := bufio.NewReaderSize(c, wsBufSize)

	fail := func(err error) (net.Conn, error) {
		c.Close()
		return nil, fmt.Errorf("WebSocket: %w", err)
	}

	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\n"+
		"Host: localhost\r\n"+
		"Upgrade: websocket\r\n"+
		"Connection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\n"+
		"Sec-WebSocket-Version: 13\r\n\r\n", path, key)
	if err != nil {
		return fail(err)
	}

	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return fail(err)
	}

	/* RFC 6455, 4.2.2 */

	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))

	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") !=
		base64.StdEncoding.EncodeToString(sum[:]) {

		return fail(errors.New(resp.Status))
	}

	return &webSocket{Conn: c, r: r}, nil
}

func (ws *webSocket) Write(b []byte) (int, error) {
	out := append(ws.out[:0], wsFin|wsBinary)

	switch {
	case len(b) < 126:
		out = append(out, wsMasked|byte(len(b)))
	case len(b) < 65536:
		out = append(out, wsMasked|126)
		out = binary.BigEndian.AppendUint16(out, uint16(len(b)))
	default:
		out = append(out, wsMasked|127)
		out = binary.BigEndian.AppendUint64(out, uint64(len(b)))
	}

	var key [8]byte

	rand.Read(key[:4])
	copy(key[4:], key[:4])

	out = append(out, key[:4]...)
	start := len(out)
	out = append(out, b...)

	p := out[start:]
	mask := binary.LittleEndian.Uint64(key[:])

	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p,
			binary.LittleEndian.Uint64(p)^mask)
		p = p[8:]
	}

	for i := range p {
		p[i] ^= key[i]
	}

	ws.out = out

	if _, err := ws.Conn.Write(out); err != nil {
		return 0, err
	}

	return len(b), nil
}

func (ws *webSocket) Read(b []byte) (int, error) {
	for ws.left == 0 {
		if err := ws.frame(); err != nil {
			return 0, err
		}
	}

	n, err := ws.r.Read(b[:min(uint64(len(b)), ws.left)])
	ws.left -= uint64(n)

	return n, err
}

func (ws *webSocket) frame() error {
	head := make([]byte, 2, wsMaxHeader)

	if _, err := io.ReadFull(ws.r, head); err != nil {
		return err
	}

	if head[0]&0x0f == wsClose {
		return io.EOF
	}

	ws.left = uint64(head[1])

	if ws.left < 126 {
		return nil
	}

	head = head[:2<<((ws.left-126)*2)]

	if _, err := io.ReadFull(ws.r, head); err != nil {
		return err
	}

	ws.left = 0

	for _, c := range head {
		ws.left = ws.left<<8 | uint64(c)
	}

	return nil
}
