// A replay that waits or runs is looked at until it has ended.

import { $ } from "./dom.js";
import { refresh } from "./live.js";

const EVERY = 1500; // milliseconds between two looks

async function follow() {
  if (!["queued", "running"].includes($("replay").dataset.status)) return;
  if (!document.hidden) await refresh();
  setTimeout(follow, EVERY);
}

setTimeout(follow, EVERY);
