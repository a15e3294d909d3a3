"""Loads a page in headless Chromium and reloads it, through chromedriver's WebDriver interface.

Usage: reload.py URL RELOADS DEADLINE SCREENSHOT

Prints `loaded N`, or `stalled at load N: WHY` if the browser does not report a load as complete within DEADLINE
seconds, or `incomplete at load N: WHAT` if it does, but the page's script has not run or not all of the six images are
shown. Exits with status 2 if the browser itself does not work.
"""

import signal
import sys

from driver import Driver, Refused

STATE = """
const images = [...document.images];
return [Number(document.documentElement.dataset.loads), images.length,
        images.filter((image) => image.complete && image.naturalWidth > 0).length];
"""


def main(url, reloads, deadline, screenshot):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    driver = Driver()
    try:
        driver.start(float(deadline))
        for load in range(1, int(reloads) + 2):
            try:
                if load == 1:
                    driver.open(url)
                else:
                    driver.call("POST", driver.session + "/refresh")
                state = driver.run(STATE)
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
        driver.picture(screenshot)
    except Refused as refusal:
        print("the browser failed:", *refusal.args)
        sys.exit(2)
    finally:
        driver.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
