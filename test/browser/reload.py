"""Loads a page in headless Chromium and reloads it, through chromedriver's WebDriver interface.

Usage: reload.py URL RELOADS DEADLINE SCREENSHOT

Prints `loaded N`, or `stalled at load N: WHY` if the browser does not report a load as complete within DEADLINE
seconds, or `incomplete at load N: WHAT` if it does, but the page's script has not run or not all of the six images are
shown. Exits with status 2 if the browser itself does not work.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=800,600",
]

STATE = """
const images = [...document.images];
return [Number(document.documentElement.dataset.loads), images.length,
        images.filter((image) => image.complete && image.naturalWidth > 0).length];
"""


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


def main(url, reloads, deadline, screenshot):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    driver = Driver()
    try:
        driver.start(float(deadline))
        for load in range(1, int(reloads) + 2):
            try:
                if load == 1:
                    driver.call("POST", driver.session + "/url", {"url": url})
                else:
                    driver.call("POST", driver.session + "/refresh")
                state = driver.call("POST", driver.session + "/execute/sync", {"script": STATE, "args": []})
            except Refused as refusal:
                if refusal.args[0] != "timeout":
                    raise
                print(f"stalled at load {load}: {refusal.args[1]}")
                break
            if state != [load, 6, 6]:
                print(f"incomplete at load {load}: load that the script counted, images, images shown: {state}")
                break
        else:
            print(f"loaded {load}")
        with open(screenshot, "wb") as file:
            file.write(base64.b64decode(driver.call("GET", driver.session + "/screenshot")))
    except Refused as refusal:
        print("the browser failed:", *refusal.args)
        sys.exit(2)
    finally:
        driver.end()


main(*sys.argv[1:])
