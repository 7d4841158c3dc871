#!/usr/bin/env python3

# Hostile requests over HTTP/3, at a site with vmess_pass and at one without,
# whose answers are compared.  Needs aioquic.
#
# Usage: h3.py SECONDS SEED SITE OURS PAYLOADS LOCATION...
#
# SITE and OURS are ports.  PAYLOADS is a file with bodies in hexadecimal, one a
# line.  What was wrong is printed, and at last the number of requests.

import asyncio
import random
import re
import ssl
import sys
import time

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

seconds, seed, site, ours = (int(a) for a in sys.argv[1:5])
payloads = [bytes.fromhex(line) for line in open(sys.argv[5])]
locations = sys.argv[6:]

random.seed(seed)
chance = random.random
one = random.choice


class Client(QuicConnectionProtocol):

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.answers = {}
        self.closed = False

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.closed = True
            for answer in self.answers.values():
                answer['done'].set()

        elif isinstance(event, StreamReset):
            answer = self.answers.get(event.stream_id)
            if answer:
                answer['end'] = 'reset %d' % event.error_code
                answer['done'].set()

        if self.http is None:
            return

        for e in self.http.handle_event(event):
            answer = self.answers.get(getattr(e, 'stream_id', None))
            if answer is None:
                continue

            if isinstance(e, HeadersReceived):
                answer['headers'] += e.headers
            elif isinstance(e, DataReceived):
                answer['body'] += e.data

            if getattr(e, 'stream_ended', False):
                answer['end'] = 'end'
                answer['done'].set()

    # sends a request, its body in pieces; "abort" after so many of them

    async def request(self, headers, pieces, abort=None):
        id = self._quic.get_next_available_stream_id()
        answer = self.answers[id] = {'headers': [], 'body': b'', 'end': '',
                                     'done': asyncio.Event()}

        self.http.send_headers(id, headers, end_stream=not pieces)
        self.transmit()

        for n, piece in enumerate(pieces):
            if abort == n or answer['done'].is_set():
                break
            self.http.send_data(id, piece, end_stream=n == len(pieces) - 1)
            self.transmit()
            await asyncio.sleep(0)

        if abort is not None:
            if chance() < .5:
                self._quic.reset_stream(id, 0x10c)
                self._quic.stop_stream(id, 0x10c)
                self.transmit()
            return None

        try:
            await asyncio.wait_for(answer['done'].wait(), 40)
        except asyncio.TimeoutError:
            answer['end'] = 'none'

        return answer


def text(answer):
    headers = sorted(b'%s: %s' % h for h in answer['headers']
                     if h[0] not in (b'date', b'last-modified', b'etag'))
    text = b'\n'.join(headers + [b'', answer['body'], answer['end'].encode()])
    return re.sub(rb':\d+\b|boundary=\d+|\r\n--\d+', b'', text)


def request():
    at = one(locations)
    path = '/%s/%s%s' % (at, one(['', 'index.html', 'none', 'a/0']),
                         one(['', '', '?x=1', '?x_padding=' + 'X' * one([1, 99, 100, 1000, 1001])]))
    method = one('GET GET HEAD POST POST PUT PUT OPTIONS DELETE PROPFIND X'.split())
    headers = [(b':method', method.encode()), (b':scheme', b'https'),
               (b':authority', b'localhost'), (b':path', path.encode())]

    for p, name, values in ((.2, 'if-match', ['"x"', '*']), (.1, 'if-none-match', ['"x"', '*']),
                            (.1, 'range', ['bytes=0-3', 'bytes=9-1', 'x']),
                            (.1, 'if-modified-since', ['Thu, 01 Jan 2032 00:00:00 GMT']),
                            (.2, 'accept-encoding', ['gzip']),
                            (.3, 'content-type', ['application/grpc', 'text/plain']),
                            (.2, 'te', ['trailers'])):
        if chance() < p:
            headers.append((name.encode(), one(values).encode()))

    body = b''
    if method not in ('GET', 'HEAD') or chance() < .1:
        body = one([b'', one(payloads), random.randbytes(int(2 ** (chance() * 17)))])

    if body and chance() < .5:
        headers.append((b'content-length', b'%d' % len(body)))

    step = one([1000, 20000, 200000])
    pieces = [body[i:i + step] for i in range(0, len(body), step)]

    return method, path, headers, pieces


async def connection(port):
    conf = QuicConfiguration(is_client=True, alpn_protocols=['h3'],
                             verify_mode=ssl.CERT_NONE, server_name='localhost')
    context = connect('127.0.0.1', port, configuration=conf, create_protocol=Client)
    client = await asyncio.wait_for(context.__aenter__(), 20)
    client.http = H3Connection(client._quic)
    return client


async def main():
    end = time.monotonic() + seconds
    count = 0

    while time.monotonic() < end:
        try:
            clients = [await connection(port) for port in (site, ours)]
        except (OSError, asyncio.TimeoutError):
            continue

        for _ in range(random.randint(1, 10)):
            method, path, headers, pieces = request()
            count += 1

            if chance() < .4:
                await clients[1].request(headers, pieces, abort=random.randint(0, len(pieces)))
                continue

            answers = [await c.request(headers, pieces) for c in clients]

            if any(c.closed for c in clients):
                break

            a, b = (text(x) for x in answers)

            if b.endswith(b'none') and not re.search(r'x_padding=X{100,1000}$', path):
                print('HTTP/3 no answer to', method, path, headers, flush=True)

            if a != b and not re.search(rb'x-padding|no-store|application/grpc|none$', b):
                print('HTTP/3', method, path, headers, len(pieces), 'pieces\n--- the site\n',
                      a.decode('latin1'), '\n--- ours\n', b.decode('latin1'), flush=True)

        for c in clients:
            c.close()

    print('requests', count)


asyncio.run(main())
