"""What the scripts of this folder ask of a page in the browser: to wait for something, to be of some size, and its errors."""

import contextlib
import time

from driver import Wrong


class Page:
    """The page that a driver shows. Waits for something at most `deadline` seconds."""

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
                raise Wrong(f"{script.strip().splitlines()[0]} is {value!r}")
            time.sleep(0.05)
        return value

    def text(self, selector, is_right):
        """Waits until the text of an element is right, and returns it."""
        return self.until(f"return document.querySelector({selector!r}).textContent;", is_right)

    def click(self, selector):
        """Clicks as a visitor does: on an element that is shown and enabled."""
        self.until(f"return document.querySelector({selector!r}).ariaDisabled;", lambda disabled: disabled != "true")
        element = self.driver.call("POST", self.driver.session + "/element", {"using": "css selector", "value": selector})
        self.driver.call("POST", f"{self.driver.session}/element/{next(iter(element.values()))}/click")

    @contextlib.contextmanager
    def second_window(self, url):
        """Opens another window with a page, in which everything happens until it is closed again."""
        first = self.driver.call("GET", self.driver.session + "/window")
        second = self.driver.call("POST", self.driver.session + "/window/new", {"type": "window"})["handle"]
        self.driver.call("POST", self.driver.session + "/window", {"handle": second})
        try:
            self.driver.open(url)
            yield
        finally:
            self.driver.call("DELETE", self.driver.session + "/window")
            self.driver.call("POST", self.driver.session + "/window", {"handle": first})

    def show(self, width, height, scheme):
        self.command("Emulation.setDeviceMetricsOverride",
                     {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
        self.command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def check_width(self, width):
        found = self.driver.run("return [document.documentElement.scrollWidth, window.innerWidth];")
        if found[0] > width or found[1] != width:
            raise Wrong(f"at {width}, the page and the window are {found} wide")

    def errors(self):
        """What the browser has written to its console since the last call."""
        entries = self.driver.call("POST", self.driver.session + "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries]

    def check_errors(self):
        if errors := self.errors():
            raise Wrong(f"the console of the browser says {errors}")
