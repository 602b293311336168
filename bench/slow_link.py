#!/usr/bin/env python3
"""A slow link to a server on this machine: relays TCP with a delay each way and a rate that all connections
share. Kernels without netem have no other way.

    slow_link.py HOST:PORT [MILLISECONDS EACH WAY] [MBIT/S]     prints the HOST:PORT of this end"""

import asyncio
import sys

PIECE = 16 << 10


class Link:
    """One direction: bytes leave in order, at the rate, and arrive a delay later."""

    def __init__(self, delay, bytes_per_second):
        self.delay, self.rate, self.free_at = delay, bytes_per_second, 0.0

    def arrival(self, count):
        now = asyncio.get_running_loop().time()
        self.free_at = max(self.free_at, now) + count / self.rate
        return self.free_at + self.delay


async def carry(reader, writer, link):
    loop = asyncio.get_running_loop()
    # as much as a TCP window of that path would hold on its way
    queue = asyncio.Queue(maxsize=64)
    is_gone = False

    async def deliver():
        nonlocal is_gone
        while True:
            arrival, piece = await queue.get()
            if not piece:
                writer.close()
                return
            if is_gone:
                continue
            await asyncio.sleep(max(0, arrival - loop.time()))
            try:
                writer.write(piece)
                await writer.drain()
            except ConnectionError:
                is_gone = True

    delivery = asyncio.create_task(deliver())
    try:
        while not is_gone and (piece := await reader.read(PIECE)):
            await queue.put((link.arrival(len(piece)), piece))
    except ConnectionError:
        pass
    await queue.put((link.arrival(0), b""))
    await delivery


async def main(target, milliseconds=10, mbit=200):
    host, port = target.rsplit(":", 1)
    delay, rate = float(milliseconds) / 1000, float(mbit) * 1e6 / 8
    up, down = Link(delay, rate), Link(delay, rate)

    async def serve(reader, writer):
        # the handshake's round trip
        await asyncio.sleep(2 * delay)
        there_reader, there_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(carry(reader, there_writer, up), carry(there_reader, writer, down))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if len(sys.argv) < 2:
    sys.exit(__doc__)
asyncio.run(main(*sys.argv[1:]))
