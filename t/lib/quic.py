#!/usr/bin/env python3

# A client of QUIC for the tests in Perl: streams of a server are connections
# to a Unix socket.  Needs aioquic.
#
# Usage: quic.py SOCKET PORT
#
# It ends with its input.
#
# A connection to SOCKET starts with a line:
#
#   stream CONN NAME    a new stream, of a connection that is made if there is
#                       none of that name; what follows are its bytes, and the
#                       end of either side is that of the other
#   uni CONN NAME       a unidirectional one
#   reset NAME CODE     ends the client's side of a stream
#   stop NAME CODE      asks the server to send no more
#   state NAME          tells "open", "end", "reset CODE", "stopped CODE" of what
#                       the server did with the stream, or "closed CODE" of that
#   connection CONN     tells whether it is "open" or "closed CODE"
#   close CONN          closes it
#
# All are answered by a line, which is "ok" where nothing is asked.

import asyncio
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

path, port = sys.argv[1], int(sys.argv[2])

connections = {}
streams = {}


class Client(QuicConnectionProtocol):

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.streams = {}
        self.state = 'open'

    def quic_event_received(self, event):
        if isinstance(event, events.ConnectionTerminated):
            self.state = 'closed %d' % event.error_code
            for stream in self.streams.values():
                if stream.state == 'open':
                    stream.state = self.state
                    stream.finish()
            return

        stream = self.streams.get(getattr(event, 'stream_id', None))

        if stream is None:
            return

        if isinstance(event, events.StreamDataReceived):
            stream.writer.write(event.data)
            if event.end_stream:
                stream.state = 'end'
                stream.finish()

        elif isinstance(event, events.StreamReset):
            stream.state = 'reset %d' % event.error_code
            stream.finish()

        elif isinstance(event, events.StopSendingReceived):
            stream.stopped = True
            if stream.state == 'open':
                stream.state = 'stopped %d' % event.error_code


class Stream:

    def __init__(self, client, id, writer):
        self.client, self.id, self.writer = client, id, writer
        self.state = 'open'
        self.stopped = self.ended = False

    def finish(self):
        try:
            self.writer.write_eof()
        except OSError:
            pass

    def send(self, data, end):
        if self.ended or self.stopped or self.client.state != 'open':
            return
        self.ended = end
        self.client._quic.send_stream_data(self.id, data, end)
        self.client.transmit()


async def client(name):
    if name not in connections:
        conf = QuicConfiguration(is_client=True, alpn_protocols=['h2'],
                                 verify_mode=ssl.CERT_NONE,
                                 server_name='localhost')
        context = connect('127.0.0.1', port, configuration=conf,
                          create_protocol=Client)
        connections[name] = await context.__aenter__(), context

    return connections[name][0]


async def command(words, reader, writer):
    what, name, *rest = words

    if what in ('stream', 'uni'):
        c = await client(name)
        id = c._quic.get_next_available_stream_id(what == 'uni')
        stream = Stream(c, id, writer)
        c.streams[id] = streams[rest[0]] = stream
        writer.write(b'ok\n')

        data = True
        while data:
            try:
                data = await reader.read(65536)
            except OSError:
                data = b''
            stream.send(data, not data)

        return None

    if what == 'reset':
        stream = streams[name]
        stream.ended = True
        stream.client._quic.reset_stream(stream.id, int(rest[0]))
        stream.client.transmit()
        return 'ok'

    if what == 'stop':
        stream = streams[name]
        stream.client._quic.stop_stream(stream.id, int(rest[0]))
        stream.client.transmit()
        return 'ok'

    if what == 'state':
        return streams[name].state

    if what == 'connection':
        return connections[name][0].state

    if what == 'close':
        connections[name][0].close()
        return 'ok'

    return 'what?'


async def serve(reader, writer):
    try:
        words = (await reader.readline()).decode().split()
        answer = await command(words, reader, writer)
    except (OSError, KeyError, ValueError) as e:
        answer = 'failed: %r' % e

    if answer:
        writer.write(answer.encode() + b'\n')
        writer.close()


async def main():
    done = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, done.set)

    await asyncio.start_unix_server(serve, path)
    await done.wait()

    for c, _ in connections.values():
        c.close()


asyncio.run(main())
