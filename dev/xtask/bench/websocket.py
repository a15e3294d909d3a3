"""The echo server of cargo xtask bench on Python's websockets. It ends when its input does.

Usage: python3 websocket.py PORT
"""

import asyncio
import os
import sys
import threading

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    # Without compression, which the clients do not offer, and without pings, which they do not answer.
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None, backlog=4096) as server:
        await server.serve_forever()


def end_with_input():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
asyncio.run(main())
