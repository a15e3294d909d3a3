// The panel with the statistics of this server: charts of the last minute, totals, and two ways to give the server work.
import { showDots } from "./dots.js";

const byId = (id) => document.getElementById(id);
const slots = 240;
const width = 240;
const height = 56;
let samples = [];

export function showHistory(history) {
  samples = history;
  draw();
}

export function showStatistics(sample) {
  samples = [...samples, sample].slice(-slots);
  draw();
}

const perSecond = (name) => (sample, number) => {
  const before = samples[Math.max(0, number - 4)];
  return sample.at > before.at ? (sample[name] - before[name]) / (sample.at - before.at) : 0;
};

// How many clients were accepted in a batch since the sample before.
function perBatch(sample, number) {
  const before = samples[Math.max(0, number - 1)];
  const batches = sample.batches - before.batches;
  return batches > 0 ? (sample.accepted - before.accepted) / batches : 0;
}

const rounded = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });

// Each chart begins at its right edge, with the newest sample.
function drawChart(name, values, least, now = values.at(-1)) {
  const figure = document.querySelector(`[data-chart=${name}]`);
  const most = Math.max(...values);
  const top = Math.max(least, most);
  const points = values.map((value, number) =>
    `${(width * (slots - values.length + number + 1) / slots).toFixed(1)},${(height - 1 - (height - 4) * value / top).toFixed(1)}`);
  const line = `M${points.join("L")}`;
  const [first, last] = [points[0].split(",")[0], points.at(-1).split(",")[0]];
  figure.querySelector(".line").setAttribute("d", line);
  figure.querySelector(".area").setAttribute("d", `${line}L${last},${height}L${first},${height}Z`);
  figure.querySelector("b").textContent = rounded(now);
  figure.querySelector(".now span").textContent = `at most ${rounded(most)}`;
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function draw() {
  if (samples.length === 0) return;
  drawChart("requests", samples.map(perSecond("requests")), 10);
  drawChart("active", samples.map((sample) => sample.active), 10);
  const batches = samples.map(perBatch);
  drawChart("batch", batches, 4, batches.findLast((size) => size > 0) ?? 0);
  const newest = samples.at(-1);
  for (const cell of document.querySelectorAll("#totals dd")) {
    const value = newest[cell.dataset.is];
    cell.textContent = cell.dataset.is === "up" ? duration(value) : value.toLocaleString("en");
  }
}

const outcome = byId("outcome");
const buttons = [byId("requests"), byId("crowd")];

// Has a function do the work of a button. It returns what came of it, in words.
function onClick(button, work) {
  button.addEventListener("click", async () => {
    if (button.ariaDisabled === "true") return;
    for (const one of buttons) one.ariaDisabled = true;
    outcome.textContent = "Waiting for the answers.";
    try {
      outcome.textContent = await work();
    } catch {
      outcome.textContent = "The demo cannot be reached.";
    }
    for (const one of buttons) one.ariaDisabled = false;
  });
}

onClick(byId("crowd"), async () => {
  showDots(byId("answers"), "");
  const answer = await fetch("/crowd", { method: "POST" });
  if (!answer.ok) return "There is a crowd already. Wait for its end.";
  const { clients, answered, seconds } = await answer.json();
  return `${answered} of ${clients} clients were answered. Each stayed for 0.4 s, and the last one left after ${seconds.toFixed(1)} s.`;
});

// All requests are made at once. The browser decides over how many connections it sends them.
onClick(byId("requests"), async () => {
  const marks = Array(300).fill(".");
  const show = () => showDots(byId("answers"), marks.join(""));
  show();
  const begin = performance.now();
  await Promise.all(marks.map(async (_, number) => {
    try {
      const answer = await fetch(`/ping?${number}`, { cache: "no-store" });
      await answer.text();
      marks[number] = answer.ok ? "+" : "x";
    } catch {
      marks[number] = "x";
    }
    if (number % 5 === 0) show();
  }));
  show();
  const answered = marks.filter((mark) => mark === "+").length;
  const took = Math.round(performance.now() - begin);
  return answered === marks.length
    ? `All ${marks.length} requests were answered, the last after ${took} ms.`
    : `${answered} of ${marks.length} requests were answered; ${marks.length - answered} failed.`;
});
