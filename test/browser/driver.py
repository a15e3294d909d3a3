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
import sys
import tempfile
import time

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=800,600",
]


class Refused(Exception):
    """chromedriver's answer that it could not do something: an error code and a message."""


class Wrong(Exception):
    """What the page shows instead of what it should."""


def drive(deadline, work):
    """Starts a browser that gives a page `deadline` seconds to load, calls `work` with its driver, and ends the browser.

    Exits with status 1 if the page is wrong, and with 2 if the browser itself does not work or the script is told to end.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    driver = Driver()
    try:
        driver.start(float(deadline))
        work(driver)
    except Wrong as wrong:
        print("wrong:", wrong)
        sys.exit(1)
    except Refused as refusal:
        print("the browser failed:", *refusal.args)
        sys.exit(2)
    finally:
        driver.end()


def processes_with(text):
    """The numbers of the processes that have a text in their arguments."""
    lines = subprocess.run(["ps", "-axww", "-o", "pid=,args="], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [int(line.split()[0]) for line in lines if text in line]


def end_when_closed(pipe, folder):
    """Waits until all that write to a pipe are gone, and then ends all processes with a folder in their arguments."""
    os.read(pipe, 1)
    while left := processes_with(folder):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


class Driver:
    """A chromedriver and the browser that it starts, which keep their files in their own temporary folder.

    All their processes have the folder in their arguments. A child of this process ends them, also if this process is
    killed before it can do so.
    """

    def __init__(self):
        self.session = "/session/none"
        self.folder = tempfile.mkdtemp(prefix="kqnet-chromium-")
        waiting, self.alive = os.pipe()
        self.cleaner = os.fork()
        if self.cleaner == 0:
            os.setsid()
            os.close(self.alive)
            # Whoever reads the output of this process need not wait for this one.
            for stream in [0, 1, 2]:
                os.close(stream)
                os.open(os.devnull, os.O_RDWR)
            end_when_closed(waiting, self.folder)
            os._exit(0)
        os.close(waiting)
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0", f"--log-path={self.folder}/log"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "TMPDIR": self.folder})
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
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"pageLoad": int(deadline * 1000)}}}
        self.session = "/session/" + self.call("POST", "/session", {"capabilities": capabilities})["sessionId"]

    def end(self):
        with contextlib.suppress(OSError, Refused, http.client.HTTPException):
            self.call("DELETE", self.session)
        os.close(self.alive)
        os.waitpid(self.cleaner, 0)
        self.process.wait()

    def open(self, url):
        self.call("POST", self.session + "/url", {"url": url})

    def run(self, script):
        """Runs a script in the page, and returns its result."""
        return self.call("POST", self.session + "/execute/sync", {"script": script, "args": []})

    def picture(self, file):
        """Writes a picture of the page to a file."""
        with open(file, "wb") as out:
            out.write(base64.b64decode(self.call("GET", self.session + "/screenshot")))
