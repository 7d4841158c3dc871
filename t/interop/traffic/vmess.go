/*
 * A light VMess client for benchmarks: AEAD header, security aes-128-gcm with
 * the options of Xray's client (chunks, masked length, global padding, chunks
 * of at most 8 KiB), zero, or off (no VMess at all); over TCP, TLS,
 * WebSocket over TLS, and QUIC.  It reads in big pieces and joins chunks to big writes, so
 * that the server and not the client is what is measured.
 */

package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/fnv"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	securityGCM  = 3
	securityNone = 5

	commandTCP = 1
	commandUDP = 2
	commandMux = 3

	maxChunk   = 8192 - 2 - 16 - 64
	chunksJoin = 16
)

var (
	vmessServer = flag.String("vmess", "", "address of a VMess server")
	vmessID     = flag.String("id", "", "user id, UUID")
	vmessSec    = flag.String("security", "aes-128-gcm", "or zero, off")
	vmessCA     = flag.String("ca", "", "use TLS, with this trusted root")
	vmessPath   = flag.String("path", "", "use WebSocket, with this path")
)

var buffers = sync.Pool{New: func() any { return make([]byte, bufSize) }}

var tlsConfig = sync.OnceValues(func() (*tls.Config, error) {
	pem, err := os.ReadFile(*vmessCA)
	if err != nil {
		return nil, err
	}

	pool := x509.NewCertPool()

	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + *vmessCA)
	}

	return &tls.Config{
		RootCAs:            pool,
		ServerName:         "localhost",
		ClientSessionCache: nil,
	}, nil
})

func kdf(key []byte, path ...string) []byte {
	h := func() hash.Hash {
		return hmac.New(sha256.New, []byte("VMess AEAD KDF"))
	}

	for _, p := range path {
		inner := h

		h = func() hash.Hash {
			return hmac.New(inner, []byte(p))
		}
	}

	m := h()
	m.Write(key)

	return m.Sum(nil)
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}

	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}

	return aead
}

/* one direction of a body */

type codec struct {
	aead  cipher.AEAD
	shake *sha3.SHAKE
	nonce [12]byte
	count uint16
}

func newCodec(key, iv []byte) *codec {
	c := &codec{aead: gcm(key), shake: sha3.NewSHAKE128()}

	c.shake.Write(iv)
	copy(c.nonce[2:], iv[2:12])

	return c
}

func (c *codec) next() (padding int, mask uint16) {
	var b [4]byte

	c.shake.Read(b[:])

	return int(binary.BigEndian.Uint16(b[:]) % 64),
		binary.BigEndian.Uint16(b[2:])
}

func (c *codec) nextNonce() []byte {
	binary.BigEndian.PutUint16(c.nonce[:], c.count)
	c.count++

	return c.nonce[:]
}

type vmessConn struct {
	net.Conn

	security byte
	up, down *codec

	respKey, respIV []byte
	v               byte
	answered        bool

	in        []byte /* received, not yet opened: buf[start:end] */
	start     int
	end       int
	plain     []byte
	length    int /* of the chunk being read, or -1 */
	padding   int
	ended     bool
	out       []byte
	header    []byte /* the request, until the first write */
	randomPad [64]byte
}

func dialVMess() (net.Conn, error) {
	ip, port, err := targetAddr()
	if err != nil {
		return nil, err
	}

	if *muxFlows > 0 {
		return dialMux(ip, port)
	}

	return openVMess(commandTCP, ip, port)
}

func targetAddr() (net.IP, uint16, error) {
	host, service, err := net.SplitHostPort(*target)
	if err != nil {
		return nil, 0, err
	}

	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, 0, err
	}

	ip := net.ParseIP(host).To4()
	if ip == nil {
		return nil, 0, errors.New("the light client takes IPv4 targets only")
	}

	return ip, uint16(port), nil
}

func userID() ([]byte, error) {
	id, err := hex.DecodeString(strings.ReplaceAll(*vmessID, "-", ""))
	if err != nil || len(id) != 16 {
		return nil, errors.New("bad -id")
	}

	return id, nil
}

/* what carries it */

func dialCarrier() (net.Conn, error) {
	if *vmessQUIC {
		return dialQUIC()
	}

	c, err := net.DialTimeout("tcp", *vmessServer, *timeout)
	if err != nil {
		return nil, err
	}

	c.SetDeadline(time.Now().Add(*timeout))

	if *vmessCA != "" {
		conf, err := tlsConfig()
		if err != nil {
			c.Close()
			return nil, err
		}

		c = tls.Client(c, conf)
	}

	if *vmessPath != "" {
		return dialWebSocket(c, *vmessPath)
	}

	return c, nil
}

func openVMess(command byte, ip net.IP, port uint16) (net.Conn, error) {
	if *vmessSec == "off" {
		return dialCarrier()
	}

	id, err := userID()
	if err != nil {
		return nil, err
	}

	vc, err := newVMess(id, command, ip, port, time.Now())
	if err != nil {
		return nil, err
	}

	vc.Conn, err = dialCarrier()
	if err != nil {
		return nil, err
	}

	return vc, nil
}

/* without its carrier: the header is there, and is sent with the first data */

func newVMess(id []byte, command byte, ip net.IP, port uint16, at time.Time) (
	*vmessConn, error) {

	security, opt := byte(securityGCM), byte(0x0d)

	switch *vmessSec {
	case "aes-128-gcm":
	case "zero":
		security, opt = securityNone, 0
	default:
		return nil, fmt.Errorf("the light client has no security %q",
			*vmessSec)
	}

	var secret [33]byte

	rand.Read(secret[:])

	iv, key := secret[:16], secret[16:32]
	respKey := sha256.Sum256(key)
	respIV := sha256.Sum256(iv)

	vc := &vmessConn{
		security: security,
		respKey:  respKey[:16],
		respIV:   respIV[:16],
		v:        secret[32],
		length:   -1,
		in:       buffers.Get().([]byte),
	}

	if security == securityGCM {
		vc.up = newCodec(key, iv)
		vc.down = newCodec(vc.respKey, vc.respIV)
	}

	/* the instruction header */

	h := append([]byte{1}, iv...)
	h = append(h, key...)
	h = append(h, vc.v, opt, security, 0, command)

	if command != commandMux {
		h = binary.BigEndian.AppendUint16(h, port)
		h = append(append(h, 1), ip...)
	}

	sum := fnv.New32a()
	sum.Write(h)
	h = sum.Sum(h)

	/* AEAD header */

	m := md5.New()
	m.Write(id)
	m.Write([]byte("c48619fe-8f02-49e0-b9e9-edf763e17e21"))
	cmdKey := m.Sum(nil)

	auth := make([]byte, 16)

	binary.BigEndian.PutUint64(auth, uint64(at.Unix()))
	rand.Read(auth[8:12])
	binary.BigEndian.PutUint32(auth[12:], crc32.ChecksumIEEE(auth[:12]))

	block, err := aes.NewCipher(kdf(cmdKey, "AES Auth ID Encryption")[:16])
	if err != nil {
		return nil, err
	}

	block.Encrypt(auth, auth)

	nonce := make([]byte, 8)
	rand.Read(nonce)

	seal := func(name string, plain []byte) []byte {
		a, n := string(auth), string(nonce)
		aead := gcm(kdf(cmdKey, "VMess Header AEAD Key"+name, a, n)[:16])

		return aead.Seal(nil,
			kdf(cmdKey, "VMess Header AEAD Nonce"+name, a, n)[:12],
			plain, auth)
	}

	b := bytes.Clone(auth)
	b = append(b, seal("_Length",
		binary.BigEndian.AppendUint16(nil, uint16(len(h))))...)
	b = append(b, nonce...)
	b = append(b, seal("", h)...)

	vc.header = b

	return vc, nil
}

func (vc *vmessConn) Write(b []byte) (int, error) {
	total := len(b)

	for len(b) > 0 || vc.header != nil {
		vc.out = append(vc.out[:0], vc.header...)
		vc.header = nil

		if vc.security == securityNone {
			if len(vc.out) == 0 {
				_, err := vc.Conn.Write(b)
				return total, err
			}

			vc.out = append(vc.out, b...)
			b = nil
		}

		for i := 0; i < chunksJoin && len(b) > 0; i++ {
			n := min(len(b), maxChunk)
			vc.seal(b[:n])
			b = b[n:]
		}

		if _, err := vc.Conn.Write(vc.out); err != nil {
			return 0, err
		}
	}

	return total, nil
}

func (vc *vmessConn) seal(b []byte) {
	padding, mask := vc.up.next()
	length := uint16(len(b) + 16 + padding)

	vc.out = binary.BigEndian.AppendUint16(vc.out, length^mask)
	vc.out = vc.up.aead.Seal(vc.out, vc.up.nextNonce(), b, nil)
	vc.out = append(vc.out, vc.randomPad[:padding]...)
}

/* the end chunk, as Xray sends it when its half is done */

func (vc *vmessConn) Close() error {
	if vc.security == securityGCM {
		vc.out = append(vc.out[:0], vc.header...)
		vc.header = nil
		vc.seal(nil)
		vc.Conn.Write(vc.out)
	}

	if vc.in != nil {
		buffers.Put(vc.in)
		vc.in = nil
	}

	return vc.Conn.Close()
}

/* makes n bytes available at vc.in[vc.start:] */

func (vc *vmessConn) fill(n int) error {
	for vc.end-vc.start < n {
		if vc.start > 0 && (vc.start == vc.end ||
			len(vc.in)-vc.start < 65536+64) {

			copy(vc.in, vc.in[vc.start:vc.end])
			vc.end -= vc.start
			vc.start = 0
		}

		k, err := vc.Conn.Read(vc.in[vc.end:])
		vc.end += k

		if k == 0 && err != nil {
			if err == io.EOF && vc.end != vc.start {
				return io.ErrUnexpectedEOF
			}

			return err
		}
	}

	return nil
}

func (vc *vmessConn) response() error {
	open := func(name string, n int) ([]byte, error) {
		if err := vc.fill(n); err != nil {
			return nil, fmt.Errorf("response header: %w", err)
		}

		aead := gcm(kdf(vc.respKey, "AEAD Resp Header "+name+"Key")[:16])
		b, err := aead.Open(nil,
			kdf(vc.respIV, "AEAD Resp Header "+name+"IV")[:12],
			vc.in[vc.start:vc.start+n], nil)

		vc.start += n

		return b, err
	}

	b, err := open("Len ", 18)
	if err != nil {
		return err
	}

	b, err = open("", int(binary.BigEndian.Uint16(b))+16)
	if err != nil {
		return err
	}

	if len(b) < 4 || b[0] != vc.v {
		return errors.New("bad response header")
	}

	vc.answered = true

	return nil
}

func (vc *vmessConn) Read(b []byte) (int, error) {
	if !vc.answered {
		if err := vc.response(); err != nil {
			return 0, err
		}
	}

	if vc.security == securityNone {
		if vc.start != vc.end {
			n := copy(b, vc.in[vc.start:vc.end])
			vc.start += n
			return n, nil
		}

		return vc.Conn.Read(b)
	}

	total := 0

	for {
		n := copy(b[total:], vc.plain)

		vc.plain = vc.plain[n:]
		total += n

		if total == len(b) || len(vc.plain) != 0 {
			return total, nil
		}

		if vc.ended {
			if total > 0 {
				return total, nil
			}

			return 0, io.EOF
		}

		/* all chunks that are here already, else wait for one */

		have := vc.end - vc.start

		if total > 0 && (have < 2 || vc.length >= 0 && have < vc.length) {
			return total, nil
		}

		if vc.length < 0 {
			if err := vc.fill(2); err != nil {
				return 0, err
			}

			padding, mask := vc.down.next()

			vc.padding = padding
			vc.length = int(binary.BigEndian.Uint16(vc.in[vc.start:]) ^ mask)
			vc.start += 2

			if vc.length < 16+padding {
				return 0, errors.New("bad chunk length")
			}

			continue
		}

		if err := vc.fill(vc.length); err != nil {
			return 0, err
		}

		p := vc.in[vc.start : vc.start+vc.length-vc.padding]
		plain, err := vc.down.aead.Open(p[:0], vc.down.nextNonce(), p, nil)

		if err != nil {
			return 0, err
		}

		vc.plain = plain
		vc.start += vc.length
		vc.length = -1
		vc.ended = len(plain) == 0
	}
}
