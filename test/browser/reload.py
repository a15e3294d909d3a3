"""Loads a page in headless Chromium and reloads it, through chromedriver's WebDriver interface.

Usage: reload.py URL RELOADS DEADLINE SCREENSHOT

Prints `loaded N`, or `stalled at load N: WHY` if the browser does not report a load as complete within DEADLINE
seconds, or `incomplete at load N: WHAT` if it does, but the page's script has not run or not all of the six images are
shown. Exits with status 2 if the browser itself does not work.
"""

import sys

from driver import Refused, drive

STATE = """
const images = [...document.images];
return [Number(document.documentElement.dataset.loads), images.length,
        images.filter((image) => image.complete && image.naturalWidth > 0).length];
"""


def reload(driver, url, loads):
    """Loads a page this many times. Returns what happened."""
    for load in range(1, loads + 1):
        try:
            if load == 1:
                driver.open(url)
            else:
                driver.call("POST", driver.session + "/refresh")
            state = driver.run(STATE)
        except Refused as refusal:
            if refusal.args[0] != "timeout":
                raise
            return f"stalled at load {load}: {refusal.args[1]}"
        if state != [load, 6, 6]:
            return f"incomplete at load {load}: load that the script counted, images, images shown: {state}"
    return f"loaded {loads}"


def main(url, reloads, deadline, screenshot):
    def look(driver):
        print(reload(driver, url, int(reloads) + 1))
        driver.picture(screenshot)

    drive(deadline, look)


main(*sys.argv[1:])
