"""Uses the demo in headless Chromium.

Usage: demo.py URL DEADLINE SCREENSHOTS STALLS

STALLS is `stalls` if core's server should stall in the panel of the two servers, and otherwise `answers`. Prints a line for each step. The caller adds an entry after `open`, and restarts the demo and adds
another after `restart`. Writes pictures of the page to SCREENSHOTS-WIDTH-SCHEME.png. Exits
with status 1 if the page does not show what it should, and with 2 if the browser itself does not work.
"""

import pathlib
import sys

from driver import Wrong, drive
from page import Page

SIZES = [(390, 844), (1280, 800)]
ENTRIES = 'return [...document.querySelectorAll("#entries > li")].map((item) => item.id + " " + item.innerText);'
CONTRAST = pathlib.Path(__file__).with_name("contrast.js").read_text()


def say(step):
    print(step, flush=True)


def is_list(*ids):
    wanted = [f"entry-{number}" for number in ids]
    return lambda entries: [entry.split()[0] for entry in entries] == wanted


def pictures(page, files):
    """Takes a picture of the page, and one of the whole length, at each size and in each scheme."""
    for width, height in SIZES:
        for scheme in ["light", "dark"]:
            page.show(width, height, scheme)
            page.check_width(width)
            # Colours change within a moment.
            page.until(CONTRAST, lambda texts: texts == [])
            page.driver.run("scrollTo(0, 0);")
            page.driver.picture(f"{files}-{width}-{scheme}.png")
            length = page.driver.run("return document.documentElement.scrollHeight;")
            page.show(width, length, scheme)
            page.driver.picture(f"{files}-{width}-{scheme}-whole.png")
    page.show(*SIZES[1], "light")


def send_bursts(page, stalls):
    """Sends two bursts to the two servers, and looks at what becomes of them."""
    numbers = 'return [...document.querySelectorAll("[data-is=answered]")].map((place) => Number(place.textContent));'
    dots = 'return [...document.querySelectorAll(".side")].map((side) => side.querySelectorAll(".dots .answered").length);'
    for burst in [1, 2]:
        page.click("#bursts .first")
        page.text("#verdict", lambda text: f"kqnet answered {100 * burst} of {100 * burst}" in text)
        core, kqnet = page.until(dots, lambda counts: counts[1] == 100 * burst)
        if [core, kqnet] != page.driver.run(numbers) or (core == kqnet) != (stalls == "answers"):
            raise Wrong(f"dots of core and of kqnet: {core}, {kqnet}")
    if stalls == "stalls":
        page.text("[data-side=core] .words", lambda text: text.startswith("Stalled: "))
    page.text("[data-side=kqnet] .words", lambda text: text.startswith("Everybody is answered"))


def start_again(page):
    page.click("#bursts .second")
    page.text("[data-side=core] .words", lambda text: text == "No client yet.")
    page.text("[data-side=core] [data-is=sent]", lambda text: text == "0")


def look(page, url, files, stalls):
    driver = page.driver
    page.show(*SIZES[1], "light")
    driver.open(url)
    page.text("#live", lambda text: text == "live")
    page.text("[data-is=readers]", lambda text: text == "1")
    say("open")
    entries = page.until(ENTRIES, is_list(2, 1))
    if "Ben <b>" not in entries[0]:
        raise Wrong(entries[0])
    with page.second_window(url):
        page.text("[data-is=readers]", lambda text: text == "2")
        send_bursts(page, stalls)
    # This window has seen the same, and the other is gone.
    page.text("#verdict", lambda text: "kqnet answered 200 of 200" in text)
    page.text("[data-is=readers]", lambda text: text == "1")
    say("bursts")
    page.click("#requests")
    page.text("#outcome", lambda text: text.startswith("All 300 requests were answered"))
    page.click("#crowd")
    page.text("#outcome", lambda text: text.startswith("400 of 400 clients were answered"))
    page.text("[data-is=full]", lambda text: text != "0")
    # The charts go on.
    line = "return document.querySelector('[data-chart=requests] .line').getAttribute('d');"
    before = driver.run(line)
    page.until(line, lambda now: now and now != before)
    pictures(page, files)
    page.check_errors()
    start_again(page)
    say("restart")
    page.until(ENTRIES, is_list(3, 2, 1))
    page.text("#live", lambda text: text == "live")
    # While the server was away, the browser could not connect.
    page.errors()
    say("went on")
    driver.run("""
        document.getElementById("name").value = "Dora";
        document.getElementById("text").value = "Written in a browser.";
    """)
    page.click("#sign button")
    page.until(ENTRIES, is_list(4, 3, 2, 1))
    page.until("return document.getElementById('name').value;", lambda name: name == "Dora")
    page.check_errors()
    say("signed")
    page.command("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.open(url)
    state = driver.run("""
        document.getElementById("text").value = "Written without a script.";
        return [document.documentElement.className, getComputedStyle(document.querySelector("#server")).display];
    """)
    if state != ["", "none"]:
        raise Wrong(state)
    page.click("#sign button")
    page.until(ENTRIES, is_list(5, 4, 3, 2, 1))
    page.click("#bursts .first")
    page.text("#verdict", lambda text: "kqnet answered 100 of 100" in text)
    say("without a script")


def main(url, deadline, files, stalls):
    drive(deadline, lambda driver: look(Page(driver, float(deadline)), url, files, stalls))


main(*sys.argv[1:])
