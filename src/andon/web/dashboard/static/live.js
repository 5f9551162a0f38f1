// Keeps the parts marked data-live current: the page is fetched again and only what differs is
// touched. Pauses while hidden; says when the server is gone, and since when.

import { $, morph } from "./dom.js";
import { ago, exact, tick } from "./words.js";

export const PATIENCE = 8000; // milliseconds after which a server that says nothing counts as gone

let goneSince = null;

function offline(gone) {
  const notice = $("offline");
  if (!gone) goneSince = null;
  else goneSince ??= new Date();
  document.body.classList.toggle("is-offline", gone);
  notice.hidden = !gone;
  if (gone) {
    notice.textContent = `Andon cannot be reached since ${exact(goneSince)} (${ago(goneSince)}). ` +
      "What you see is from before. Trying again.";
  }
}

/** Fetches this page (or `path`) again and updates the live parts. True when it worked. */
export async function refresh(path = location.href) {
  let answer;
  let words;
  try {
    answer = await fetch(path, { headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    words = await answer.text();
  } catch {
    offline(true);
    return false;
  }
  offline(false);
  if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
  if (!answer.ok) return false;
  const fresh = new DOMParser().parseFromString(words, "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const replacement = fresh.getElementById(part.id);
    if (replacement) morph(part, replacement);
  }
  tick();
  document.dispatchEvent(new CustomEvent("andon:refreshed"));
  return true;
}

/** Refreshes every `seconds` while the page can be seen; slower while the server is gone. */
export function keepFresh(seconds) {
  let timer = 0;
  const round = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    const worked = await refresh();
    timer = setTimeout(round, (worked ? seconds : seconds * 1.5) * 1000);
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : round()));
  timer = setTimeout(round, seconds * 1000);
}
