// Keeps the parts marked data-live current: the page is fetched again and only what differs is
// touched. Pauses while hidden; says when the server is gone, and since when.

import { $, morph } from "./dom.js";
import { ago, exact, tick } from "./words.js";

export const PATIENCE = 8000; // milliseconds after which a server that says nothing counts as gone

let goneSince = null;

/** Says what is wrong, in words that "since" can follow; empty: nothing is. */
function offline(wrong) {
  const notice = $("offline");
  if (!wrong) goneSince = null;
  else goneSince ??= new Date();
  document.body.classList.toggle("is-offline", Boolean(wrong));
  notice.hidden = !wrong;
  if (wrong) {
    notice.textContent = `${wrong} since ${exact(goneSince)} (${ago(goneSince)}). ` +
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
    offline("Andon cannot be reached");
    return false;
  }
  if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
  // An error is no news of the line: what stands there must not look as if it were current.
  offline(answer.ok ? "" : `Andon has answered with an error (${answer.status})`);
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
