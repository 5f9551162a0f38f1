// Drift: look now, pin what later answers are compared with, forget it again.

import "./charts.js";
import { ask } from "./dialog.js";
import { $, say } from "./dom.js";
import { call } from "./http.js";
import { keepFresh, refresh } from "./live.js";

const ACTS = {
  async run(button) {
    const { model } = $("drift").dataset;
    button.disabled = true;
    const words = button.textContent;
    button.textContent = "Looking";
    try {
      await call("POST", "/api/drift/run", { model });
      say("A new report is there.");
      await refresh();
    } catch (problem) {
      say(problem.message);
    } finally {
      button.disabled = false;
      button.textContent = words;
    }
  },
  forget() {
    const { model, version } = $("drift").dataset;
    ask({
      title: "Forget the pinned window?", button: "Forget it",
      text: "From then on answers are compared with what the model brought along, or with the first answers that come.",
      run: async () => {
        const where = new URLSearchParams({ model, version });
        await call("DELETE", `/api/drift/reference?${where}`);
        return "The pinned window is forgotten.";
      },
    });
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) ACTS[button.dataset.act](button);
});

/** What a field says, which is UTC; browsers leave seconds out where they are zero. */
function moment(name) {
  const { value } = $(`pin-${name}`);
  return `${value}${value.length === 16 ? ":00" : ""}Z`;
}

document.addEventListener("submit", (event) => {
  if (event.target.id !== "pin") return;
  event.preventDefault();
  const { model, version } = $("drift").dataset;
  const error = $("pin-error");
  error.hidden = $("pin-since").value < $("pin-until").value;
  error.textContent = "The window must begin before it ends.";
  if (!error.hidden) return;
  ask({
    title: "Compare with this window from now on?", button: "Pin it", who: true,
    text: `What ${model} is asked and answers later is compared with what it answered then.`,
    run: async (_, { who }) => {
      await call("PUT", "/api/drift/reference", {
        model, version: Number(version), since: moment("since"), until: moment("until"), by: who,
      });
      return "The window is pinned. The next look compares with it.";
    },
  });
});

keepFresh(15);
