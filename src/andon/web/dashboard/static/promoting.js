// Letting a version serve, and every other change of its stage, with the reason.

import { ask } from "./dialog.js";
import { call } from "./http.js";

const at = (model) => `?model=${encodeURIComponent(model)}`;

/** Asks why, then lets the version serve. `active`: the one that serves now, if any. */
export function promote(model, version, active = "") {
  const meanwhile = active ? `; v${active} serves until it is ready` : "";
  ask({
    title: `Let v${version} serve?`, text: `It is loaded and checked first${meanwhile}.`,
    button: `Promote v${version}`, reason: true,
    run: async (reason) => {
      await call("POST", `/api/models/${version}/stage${at(model)}`, { stage: "production", reason });
      return `v${version} serves now.`;
    },
  });
}

/** Asks why, then puts a version that does not serve away, or back. */
export function move(model, version, stage, words) {
  ask({
    ...words, reason: true,
    run: async (reason) => {
      await call("POST", `/api/models/${version}/stage${at(model)}`, { stage, reason });
      return words.done;
    },
  });
}
