// Makes the page live. Everything that matters works without it.
const byId = (id) => document.getElementById(id);
document.documentElement.classList.add("script");

// New entries and the statistics come as events. When the connection is lost, the browser connects again by itself, and
// sends the id of the last entry that it has, from which the server goes on.
const entries = byId("entries");
const live = byId("live");
const events = new EventSource(`/events?after=${entries.dataset.newest}`);
const state = (text) => { live.textContent = live.dataset.state = text; };
events.onopen = () => state("live");
events.onerror = () => state("connecting");

events.addEventListener("entry", (event) => {
  if (byId(`entry-${event.lastEventId}`)) return;
  // The server has escaped what the visitor wrote, as in the page itself.
  entries.insertAdjacentHTML("afterbegin", event.data);
  entries.firstElementChild.classList.add("new");
  entries.querySelectorAll("time").forEach(inLocalTime);
});

events.addEventListener("statistics", (event) => {
  const statistics = JSON.parse(event.data);
  for (const cell of document.querySelectorAll("#statistics dd")) {
    cell.textContent = statistics[cell.dataset.is].toLocaleString("en");
  }
});

function inLocalTime(time) {
  time.textContent = new Date(time.dateTime.replace(" ", "T")).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}
entries.querySelectorAll("time").forEach(inLocalTime);

// While somebody writes, the other pages say so.
let socket;
function connect() {
  socket = new WebSocket(`${location.origin.replace("http", "ws")}/writing`);
  socket.onmessage = (event) => {
    const note = byId("writing");
    note.textContent = `${event.data || "Somebody"} is writing …`;
    clearTimeout(note.timer);
    note.timer = setTimeout(() => { note.textContent = ""; }, 3000);
  };
  socket.onclose = () => setTimeout(connect, 3000);
}
connect();

let lastTold = 0;
byId("text").addEventListener("input", () => {
  if (socket.readyState !== WebSocket.OPEN || Date.now() - lastTold < 1000) return;
  lastTold = Date.now();
  socket.send(byId("name").value);
});

// The server refuses large pictures anyway. This only says so before they are sent.
byId("picture").addEventListener("change", ({ target }) => {
  const tooLarge = target.files.length > 0 && target.files[0].size > 256 * 1024;
  target.setCustomValidity(tooLarge ? "The picture has more than 256 KB." : "");
  target.reportValidity();
});

// The burst: all requests are made at once. The browser decides over how many connections it sends them.
const count = 300;
byId("burst").addEventListener("click", async () => {
  byId("burst").disabled = true;
  byId("outcome").textContent = "Waiting for the answers.";
  const squares = Array.from({ length: count }, () => document.createElement("i"));
  byId("answers").replaceChildren(...squares);
  const begin = performance.now();
  const times = await Promise.all(squares.map(async (square, number) => {
    try {
      const answer = await fetch(`/ping?${number}`, { cache: "no-store" });
      await answer.text();
      square.className = answer.ok ? "answered" : "failed";
    } catch {
      square.className = "failed";
    }
    return performance.now() - begin;
  }));
  const answered = squares.filter((square) => square.className === "answered").length;
  const slowest = Math.round(Math.max(...times));
  byId("outcome").textContent = answered === count
    ? `All ${count} requests were answered, the last after ${slowest} ms.`
    : `${answered} of ${count} requests were answered; ${count - answered} failed.`;
  byId("burst").disabled = false;
});
