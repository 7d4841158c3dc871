#!/usr/bin/env python3

# A client of HTTP/3 for the tests in Perl: one request.  Needs aioquic.
#
# Usage: http3.py PORT METHOD PATH [-first N] [-reset] [-open] [NAME:VALUE...]
#
# The body comes from the standard input, -first tells how much of it goes with
# the header, before anything else.  It has an end, unless there is -open, or
# -reset, which resets the stream behind it.  The answer is printed: lines
# "name: value", an empty line, the body, and a last line "end", "reset CODE" or
# "cut".

import asyncio
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3 import events
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

args = sys.argv[1:]
port, method, path = int(args[0]), args[1], args[2]
first, reset, left_open, fields = None, False, False, []

rest = args[3:]
while rest:
    arg = rest.pop(0)
    if arg == '-first':
        first = int(rest.pop(0))
    elif arg == '-reset':
        reset = True
    elif arg == '-open':
        left_open = True
    else:
        name, value = arg.split(':', 1)
        fields.append((name.encode(), value.encode()))

body = sys.stdin.buffer.read()


class Client(QuicConnectionProtocol):

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.h3 = H3Connection(self._quic)
        self.head, self.data, self.how = [], b'', 'cut'
        self.done = asyncio.Event()

    def finish(self, how):
        if not self.done.is_set():
            self.how = how
            self.done.set()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.finish('cut')
            return

        if isinstance(event, StreamReset) and event.stream_id == 0:
            self.finish('reset %d' % event.error_code)
            return

        for e in self.h3.handle_event(event):
            if getattr(e, 'stream_id', None) != 0:
                continue
            if isinstance(e, events.HeadersReceived):
                self.head += e.headers
            elif isinstance(e, events.DataReceived):
                self.data += e.data
            if e.stream_ended:
                self.finish('end')


async def main():
    conf = QuicConfiguration(is_client=True, alpn_protocols=['h3'],
                             verify_mode=ssl.CERT_NONE,
                             server_name='localhost')
    async with connect('127.0.0.1', port, configuration=conf,
                       create_protocol=Client) as c:
        id = c._quic.get_next_available_stream_id()
        c.h3.send_headers(id, [(b':method', method.encode()),
                               (b':scheme', b'https'),
                               (b':authority', b'localhost'),
                               (b':path', path.encode())] + fields)
        n = len(body) if first is None else first
        if n:
            c.h3.send_data(id, body[:n], False)
        if n < len(body):
            c.transmit()
            await asyncio.sleep(0.2)
            if not c.done.is_set():
                c.h3.send_data(id, body[n:], False)
        if reset:
            c._quic.reset_stream(id, 0x10c)
            c.transmit()
            await c.ping()
            return
        if not left_open and not c.done.is_set():
            c._quic.send_stream_data(id, b'', True)
        c.transmit()
        try:
            await asyncio.wait_for(c.done.wait(), 20)
        except asyncio.TimeoutError:
            c.how = 'timed out'
        out = b''.join(b'%s: %s\n' % h for h in c.head)
        sys.stdout.buffer.write(out + b'\n' + c.data + b'\n'
                                + c.how.encode() + b'\n')

asyncio.run(main())
