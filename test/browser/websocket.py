"""Opens a page in headless Chromium, and has it echo messages over WebSockets. Usage: websocket.py URL

Prints a line for each step.
"""

import sys

from driver import drive

SCRIPT = """
const done = arguments[0];
const lines = [];
const base = location.origin.replace("http", "ws");
const closed = (socket) => new Promise((resolve) => { socket.onclose = resolve; });
const echo = (socket, message) => new Promise((resolve) => {
    socket.onmessage = (event) => resolve(event.data);
    socket.send(message);
});
const steps = async () => {
    const socket = new WebSocket(base + "/echo", ["other", "chat"]);
    socket.binaryType = "arraybuffer";
    await new Promise((resolve) => { socket.onopen = resolve; });
    lines.push("open " + socket.protocol);
    lines.push("text " + (await echo(socket, "é€😀") === "é€😀" ? "ok" : "wrong"));
    const bytes = Uint8Array.from({length: 256}, (_, index) => index);
    const back = new Uint8Array(await echo(socket, bytes));
    lines.push("binary " + (back.length === 256 && back.every((byte, index) => byte === index) ? "ok" : "wrong"));
    const large = "0123456789".repeat(50000);
    lines.push("large " + (await echo(socket, large) === large ? "ok" : "wrong"));
    const end = closed(socket);
    socket.close(4000, "bye");
    const {code, reason, wasClean} = await end;
    lines.push(`closed ${code} ${reason}${wasClean ? "" : " not clean"}`);
    // A page that is not a WebSocket.
    lines.push("refused " + (await closed(new WebSocket(base + "/"))).code);
    lines.push("raised " + (await closed(new WebSocket(base + "/raise"))).code);
};
steps().catch((error) => lines.push("failed: " + error)).finally(() => done(lines));
"""


def main(url):
    def talk(driver):
        driver.call("POST", driver.session + "/timeouts", {"script": 60000})
        driver.open(url)
        for line in driver.call("POST", driver.session + "/execute/async", {"script": SCRIPT, "args": []}):
            print(line)

    drive(60, talk)


main(*sys.argv[1:])
