"""Reads and signs the guest book of the demo in headless Chromium.

Usage: guest-book.py URL DEADLINE SCREENSHOTS

Prints a line for each step; the caller adds an entry after `open`, and restarts the server and adds another after
`300 answered`. Writes pictures of the page to SCREENSHOTS-WIDTH-SCHEME.png. Exits with status 1 if the page does not show
what it should, and with 2 if the browser itself does not work.
"""

import signal
import sys
import time

from driver import Driver, Refused

SIZES = [(390, 844), (1280, 800)]
ENTRIES = 'return [...document.querySelectorAll("#entries > li")].map((item) => item.id + " " + item.innerText);'


class Wrong(Exception):
    """What the page shows instead of what it should."""


class Page:
    def __init__(self, driver, deadline):
        self.driver = driver
        self.deadline = deadline

    def command(self, name, parameters):
        self.driver.call("POST", self.driver.session + "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def until(self, script, is_right):
        """Waits until a script returns what is right, and returns that."""
        end = time.monotonic() + self.deadline
        while not is_right(value := self.driver.run(script)):
            if time.monotonic() > end:
                raise Wrong(f"{script} is {value!r}")
            time.sleep(0.05)
        return value

    def show(self, width, height, scheme):
        self.command("Emulation.setDeviceMetricsOverride",
                     {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
        self.command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def pictures(self, files):
        for width, height in SIZES:
            for scheme in ["light", "dark"]:
                self.show(width, height, scheme)
                found = self.driver.run("return [document.documentElement.scrollWidth, window.innerWidth];")
                if found[0] > width or found[1] != width:
                    raise Wrong(f"at {width}, the page and the window are {found} wide")
                self.driver.picture(f"{files}-{width}-{scheme}.png")


def is_list(*ids):
    wanted = [f"entry-{number}" for number in ids]
    return lambda entries: [entry.split()[0] for entry in entries] == wanted


def look(page, url, files):
    driver = page.driver
    driver.open(url)
    page.until("return document.getElementById('live').textContent;", lambda text: text == "live")
    page.until("return document.querySelector('[data-is=readers]').textContent;", lambda text: text == "1")
    print("open", flush=True)
    entries = page.until(ENTRIES, is_list(2, 1))
    if "Ben <b>" not in entries[0]:
        raise Wrong(entries[0])
    print("appeared", flush=True)
    driver.run("document.getElementById('burst').click();")
    page.until("return document.getElementById('outcome').textContent;",
               lambda text: text.startswith("All 300 requests were answered"))
    print("300 answered", flush=True)
    page.until(ENTRIES, is_list(3, 2, 1))
    print("went on", flush=True)
    page.pictures(files)
    driver.run("""
        document.getElementById("name").value = "Dora";
        document.getElementById("text").value = "Written in a browser.";
        document.querySelector("#sign button").click();
    """)
    page.until(ENTRIES, is_list(4, 3, 2, 1))
    page.until("return document.getElementById('name').value;", lambda name: name == "Dora")
    print("signed", flush=True)
    page.command("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.open(url)
    state = driver.run("""
        document.getElementById("text").value = "Written without a script.";
        return [document.documentElement.className, getComputedStyle(document.querySelector("aside")).display];
    """)
    if state != ["", "none"]:
        raise Wrong(state)
    button = driver.call("POST", driver.session + "/element", {"using": "css selector", "value": "#sign button"})
    driver.call("POST", f"{driver.session}/element/{next(iter(button.values()))}/click")
    page.until(ENTRIES, is_list(5, 4, 3, 2, 1))
    print("without a script", flush=True)


def main(url, deadline, files):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    driver = Driver()
    try:
        driver.start(float(deadline))
        look(Page(driver, float(deadline)), url, files)
    except Wrong as wrong:
        print("wrong:", wrong)
        sys.exit(1)
    except Refused as refusal:
        print("the browser failed:", *refusal.args)
        sys.exit(2)
    finally:
        driver.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
