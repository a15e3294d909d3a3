"""Shows a page with an event stream in headless Chromium while its server is restarted.

Usage: events.py URL DEADLINE SCREENSHOT

Prints `restart` when the page shows some events: the caller then restarts the server. Prints `went on` when it shows some of
another process after them, and each event once and in order, or else what it shows. Exits with status 2 if the browser
itself does not work.
"""

import sys
import time

from driver import drive

EVENTS = 'return [...document.querySelectorAll("li")].map((item) => item.textContent);'


def wait(driver, deadline, is_enough):
    """Returns the events as pairs of an id and a process, once they are enough or the time is over."""
    end = time.monotonic() + deadline
    while True:
        events = [tuple(text.replace(" from", "").split()) for text in driver.run(EVENTS)]
        if is_enough(events) or time.monotonic() > end:
            return events
        time.sleep(0.05)


def main(url, deadline, screenshot):
    def look(driver):
        driver.open(url)
        before = wait(driver, float(deadline), lambda events: len(events) >= 3)
        print("restart", flush=True)
        after = wait(driver, float(deadline), lambda events: sum(event[1] != before[0][1] for event in events) >= 3)
        ids = [int(event[0]) for event in after]
        is_whole = len({event[1] for event in after}) == 2 and ids == list(range(1, len(ids) + 1))
        print("went on" if is_whole else after)
        driver.picture(screenshot)

    drive(deadline, look)


main(*sys.argv[1:])
