"""The application that cargo xtask bench runs on uvicorn, with the same answers as http.janet. It ends when its input does.

Usage: python3 asgi.py PORT
"""

import os
import sys
import threading

import uvicorn

SMALL = b"hello, world"
BODIES = {"/1k": b"x" * 1024, "/1m": b"x" * 1024 * 1024}


async def application(scope, receive, send):
    path = scope["path"]
    body = BODIES.get(path, SMALL)
    if path == "/up":
        length, more = 0, True
        while more:
            message = await receive()
            length += len(message.get("body", b""))
            more = message.get("more_body", False)
        body = str(length).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def end_with_input():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), http="httptools", ws="none", lifespan="off",
            access_log=False, log_level="error", timeout_keep_alive=600, backlog=4096)
