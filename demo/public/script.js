// Makes the page live. The guest book works without it.
import { showStatistics, showHistory } from "./charts.js";
import { showBursts } from "./bursts.js";

const byId = (id) => document.getElementById(id);
document.documentElement.classList.add("script");

// Everything new comes as an event of one stream.
const entries = byId("entries");
const live = byId("live");
let newest = Number(entries.dataset.newest);
let stream;

const state = (text) => { live.textContent = live.dataset.state = text; };

function listen() {
  // A browser keeps few connections to a server. A tab that nobody sees gives up its own.
  if (document.hidden || (stream && stream.readyState !== EventSource.CLOSED)) return;
  stream = new EventSource(`/events?after=${newest}`);
  stream.onopen = () => state("live");
  // When the connection is lost, the browser connects again by itself, unless it got an error as the answer.
  stream.onerror = () => {
    state("connecting");
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
  stream.addEventListener("entry", addEntry);
  for (const [name, show] of [["history", showHistory], ["statistics", showStatistics], ["bursts", showBursts]]) {
    stream.addEventListener(name, (event) => show(JSON.parse(event.data)));
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden && stream) {
    stream.close();
    state("connecting");
  }
  listen();
});
listen();

function addEntry({ data, lastEventId }) {
  if (byId(`entry-${lastEventId}`)) return;
  newest = Number(lastEventId);
  // The server has escaped what the visitor wrote, as in the page itself.
  entries.insertAdjacentHTML("afterbegin", data);
  entries.firstElementChild.classList.add("new");
  entries.firstElementChild.querySelectorAll("time").forEach(inLocalTime);
}

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
