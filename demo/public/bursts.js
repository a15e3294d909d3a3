// The panel with the two servers: shows what the server says about the bursts, and sends its forms without leaving the page.
import { showDots } from "./dots.js";

const panel = document.getElementById("bursts");
const verdict = document.getElementById("verdict");
const forms = [...panel.querySelectorAll("form")];

function showSide(name, side) {
  const article = panel.querySelector(`[data-side=${name}]`);
  const place = (what) => article.querySelector(`[data-is=${what}]`);
  for (const what of ["answered", "sent", "words"]) place(what).textContent = side[what];
  place("batches").textContent = side.batches ?? "";
  place("link").href = `http://127.0.0.1:${side.port}/`;
  article.dataset.stalled = side.stalled;
  showDots(article.querySelector(".dots"), side.clients);
}

export function showBursts(state) {
  if (!state || !verdict) return;
  showSide("core", state.core);
  showSide("kqnet", state.kqnet);
  // A screen reader says this at the beginning and at the end of a burst only.
  if (verdict.textContent !== state.verdict) verdict.textContent = state.verdict;
  // A disabled button would lose the focus of the keyboard.
  const [send, restart] = forms.map((form) => form.querySelector("button"));
  send.ariaDisabled = state.running || state.full;
  restart.ariaDisabled = state.running;
}

for (const form of forms) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter?.ariaDisabled === "true") return;
    // What comes of it arrives in the event stream, so where the answer leads does not matter.
    fetch(form.action, { method: "POST", redirect: "manual" }).catch(() => {
      verdict.textContent = "The demo cannot be reached.";
    });
  });
}
