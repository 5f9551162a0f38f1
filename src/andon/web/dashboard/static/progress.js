// Trainings while they run: the stage, the bar, the time, and the log for who wants it.

import { call } from "./http.js";
import { PATIENCE, refresh } from "./live.js";

const EVERY = 2000; // milliseconds between two looks
const LOG_KEPT = 60_000; // characters of a log that are shown
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** "1 min 05 s", in steps that a person notices. */
function lasting(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const [minutes, rest] = [Math.floor(whole / 60), String(whole % 60).padStart(2, "0")];
  if (minutes < 60) return `${minutes} min ${rest} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

function tick() {
  for (const time of document.querySelectorAll("[data-elapsed]")) {
    const words = `${lasting((Date.now() - new Date(time.dateTime).getTime()) / 1000)} ago`;
    if (time.textContent !== words) time.textContent = words;
  }
}

function set(element, words) {
  if (element && words && element.textContent !== words) element.textContent = words;
}

/** Looks once at one training. False when it has ended. */
async function look(card) {
  const run = await call("GET", `/api/training/${card.dataset.run}`, undefined, PATIENCE);
  if (ENDED.has(run.status)) return false;
  // From waiting to running the whole card is another one.
  if (("queued" in card.dataset) !== (run.status === "queued")) return false;
  set(card.querySelector(".going-stage"), run.stage);
  const share = Math.max(0, Math.min(1, run.progress ?? 0));
  card.querySelector("progress").value = share;
  set(card.querySelector(".going-share"), `${Math.round(share * 100)} %`);
  return true;
}

async function readLog(details) {
  const box = details.querySelector("pre");
  let answer;
  let text;
  try {
    answer = await fetch(details.dataset.log, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    text = await answer.text();
  } catch {
    return; // the next round tries again
  }
  const words = answer.ok ? text.slice(-LOG_KEPT) || "It has not said anything yet." : "The log is not there any more.";
  if (box.textContent === words) return;
  // Who reads further up is not pulled down.
  const below = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  box.textContent = words;
  if (below) box.scrollTop = box.scrollHeight;
}

let timer = 0;

async function round() {
  clearTimeout(timer);
  if (document.hidden) return;
  let ended = false;
  for (const card of document.querySelectorAll(".going[data-run]")) {
    try {
      if (!(await look(card))) ended = true;
    } catch {
      // The page's own refresh says when the server is gone.
    }
  }
  for (const details of document.querySelectorAll(".going .log[open]")) await readLog(details);
  if (ended) {
    await refresh();
    for (const details of document.querySelectorAll(".log[open]")) await readLog(details);
  }
  timer = setTimeout(round, EVERY);
}

/** Watches every training on the page, and those that come. */
export function watchProgress() {
  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.(".log[open]")) readLog(event.target);
  }, true);
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : round()));
  document.addEventListener("andon:refreshed", tick);
  for (const details of document.querySelectorAll(".log[open]")) readLog(details);
  tick();
  setInterval(tick, 1000);
  timer = setTimeout(round, EVERY);
}
