"""Drives headless Chromium through chromedriver's WebDriver interface, for the scripts of this folder."""

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=800,600",
]


class Refused(Exception):
    """chromedriver's answer that it could not do something: an error code and a message."""


class Driver:
    """A chromedriver and the browser that it starts, which keep their files in their own temporary folder."""

    def __init__(self):
        self.session = "/session/none"
        self.folder = tempfile.mkdtemp(prefix="kqnet-chromium-")
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "TMPDIR": self.folder})
        self.port = next(int(m[1]) for line in self.process.stdout if (m := re.search(r"started.* on port (\d+)", line)))

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, json.dumps(body if body is not None else {}) if method == "POST" else None)
        value = json.load(connection.getresponse())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            raise Refused(value["error"], value["message"].splitlines()[0])
        return value

    def start(self, deadline):
        options = {"args": [*ARGUMENTS, f"--user-data-dir={self.folder}/profile"]}
        capabilities = {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "timeouts": {"pageLoad": int(deadline * 1000)}}}
        self.session = "/session/" + self.call("POST", "/session", {"capabilities": capabilities})["sessionId"]

    def end(self):
        """Ends the browser and all its processes, each of which has the folder in its arguments."""
        with contextlib.suppress(OSError, Refused, http.client.HTTPException):
            self.call("DELETE", self.session)
        self.process.kill()
        self.process.wait()
        while left := self.left():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        shutil.rmtree(self.folder)

    def left(self):
        pids = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
                if self.folder.encode() in file.read():
                    pids.append(int(pid))
        return pids

    def open(self, url):
        self.call("POST", self.session + "/url", {"url": url})

    def run(self, script):
        """Runs a script in the page, and returns its result."""
        return self.call("POST", self.session + "/execute/sync", {"script": script, "args": []})

    def picture(self, file):
        """Writes a picture of the page to a file."""
        with open(file, "wb") as out:
            out.write(base64.b64decode(self.call("GET", self.session + "/screenshot")))
