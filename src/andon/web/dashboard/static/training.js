// Training, and the page of one training: start, watch, cancel, promote.

import "./charts.js";
import { ask } from "./dialog.js";
import { call } from "./http.js";
import { keepFresh, refresh } from "./live.js";
import { watchProgress } from "./progress.js";
import { promote } from "./promoting.js";

const ACTS = {
  train({ model, title }) {
    ask({
      title: `Train ${title} now?`, button: "Train", reason: true,
      text: "It runs beside the line, which goes on answering. What comes of it waits for your decision, unless nothing serves yet.",
      run: async (reason) => {
        try {
          await call("POST", "/api/retrain", { model, reason });
        } catch (problem) {
          if (problem.status !== 409 || !problem.message.includes("under way")) throw problem;
          await refresh();
          throw new Error(`${title} is being trained already. Wait for it, or cancel it on this page.`);
        }
        return "The training has begun.";
      },
    });
  },
  cancel({ run, model }) {
    ask({
      title: `Cancel the training of ${model}?`, button: "Cancel the training", danger: true,
      text: "What it has done so far is lost. Nothing that serves changes.",
      run: async () => {
        await call("POST", `/api/training/${run}/cancel`);
        return "The training is being cancelled.";
      },
    });
  },
  promote({ version }) {
    promote(document.getElementById("run").dataset.model, version);
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) ACTS[button.dataset.act](button.dataset);
});

watchProgress();
keepFresh(10);
