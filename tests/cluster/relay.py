#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""relay.py PORT HOST:PORT: passes connections on, late.

Lines on standard input, `AT_LEAST AT_MOST` in milliseconds, say how late; each connection draws from
that range and keeps what it drew until the next line. Bytes of one connection stay in order; those of
two connections may overtake each other. What it holds is limited: then it reads no more.
"""

import asyncio
import random
import sys

HELD_BYTES_MAX = 4 << 20
READ_BYTES = 1 << 16


class Relay:
    def __init__(self, target):
        self.target, self.range_ms, self.version = target, (0.0, 0.0), 0

    def draw_s(self):
        return random.uniform(*self.range_ms) / 1000

    def delay(self, line):
        low, high = map(float, line.split())
        self.range_ms, self.version = (low, high), self.version + 1

    async def accept(self, reader, writer):
        try:
            other_reader, other_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self.pass_on(reader, other_writer), self.pass_on(other_reader, writer))

    async def pass_on(self, reader, writer):
        """One direction of one connection, until it ends."""
        loop, held, version, delay_s = asyncio.get_running_loop(), Held(), None, 0.0
        sending = asyncio.ensure_future(self.send(held, writer))
        try:
            while data := await reader.read(READ_BYTES):
                if version != self.version:
                    version, delay_s = self.version, self.draw_s()
                await held.put(loop.time() + delay_s, data)
        except ConnectionError:
            held.broken = True
        await held.put(loop.time() + delay_s, b"")
        await sending

    async def send(self, held, writer):
        """Each portion when it is due. An empty one is the end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await held.get()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            if held.broken:
                writer.transport.abort()
            elif writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.transport.abort()
            await held.drop()


class Held:
    """What is on its way in one direction."""

    def __init__(self):
        self.portions, self.bytes, self.broken = asyncio.Queue(), 0, False
        self.room = asyncio.Event()
        self.room.set()

    async def put(self, due, data):
        await self.room.wait()
        self.bytes += len(data)
        if self.bytes > HELD_BYTES_MAX:
            self.room.clear()
        self.portions.put_nowait((due, data))

    async def get(self):
        due, data = await self.portions.get()
        self.bytes -= len(data)
        self.room.set()
        return due, data

    async def drop(self):
        while (await self.get())[1]:
            pass


async def main():
    port, target = int(sys.argv[1]), sys.argv[2].rsplit(":", 1)
    relay = Relay((target[0], int(target[1])))
    await asyncio.start_server(relay.accept, "0.0.0.0", port)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    while line := await lines.readline():
        relay.delay(line.decode())
        print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
