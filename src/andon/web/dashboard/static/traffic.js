// Trying a version beside the one that serves: canary, shadow, compare, and replays.

import { ask } from "./dialog.js";
import { $ } from "./dom.js";
import { call } from "./http.js";

const SHARE = { label: "Share of the subjects, percent", min: 1, max: 50, value: 10 };
const WORDS = {
  canary: {
    title: (version) => `Start a canary of v${version}?`, button: "Start the canary",
    text: "It is loaded and checked first. The same subject always sees the same version. What is judged worse is stopped.",
  },
  shadow: {
    title: (version) => `Let v${version} run in the shadow?`, button: "Start the shadow",
    text: "It answers what comes in on spare capacity. Nobody gets its answers; they are only compared.",
  },
  compare: {
    title: (version) => `Compare v${version} on every request?`, button: "Start comparing",
    text: "Every request is answered by both versions, so each takes longer. Callers get both answers.",
  },
};

const at = (model) => `?model=${encodeURIComponent(model)}`;

const ACTS = {
  "traffic-start"({ mode, model, version }) {
    const words = WORDS[mode];
    ask({
      title: words.title(version), text: words.text, button: words.button, reason: "Reason",
      amount: mode === "canary" ? SHARE : null, settled: "Not now",
      run: async (reason, { amount }) => {
        const weight = mode === "canary" ? { weight: amount / 100 } : {};
        await call("PUT", "/api/traffic", { model, mode, version: Number(version), reason, ...weight });
        return mode === "canary" ? `v${version} answers ${amount} % of the subjects.` : `v${version} is being tried.`;
      },
    });
  },
  "traffic-weight"({ model, version, weight }) {
    ask({
      title: `How much should v${version} answer?`, text: "Subjects that see it now keep seeing it where the share grows.",
      button: "Change the share", amount: { ...SHARE, value: Number(weight) }, settled: "Not any more",
      run: async (_, { amount }) => {
        await call("PATCH", "/api/traffic", { model, weight: amount / 100 });
        return `v${version} answers ${amount} % of the subjects.`;
      },
    });
  },
  "traffic-stop"({ model, version }) {
    ask({
      title: `Stop trying v${version}?`, text: "The active version answers everything again. What was measured is kept.",
      button: "Stop it", reason: "Reason", settled: "It has ended",
      run: async (reason) => {
        await call("DELETE", `/api/traffic${at(model)}&reason=${encodeURIComponent(reason)}`);
        return "Stopped. The active version answers everything.";
      },
    });
  },
  "traffic-promote"({ model, version, verdict }, panel) {
    ask({
      title: `Let v${version} serve?`, text: `So far: ${verdict.toLowerCase()}. It answers everything from then on; the version before it is kept.`,
      button: `Promote v${version}`, reason: "Reason",
      run: async (reason) => {
        const rows = panel && "rows" in panel.dataset;
        const [act, body] = rows ? ["stage", { stage: "production", reason }] : ["activate", { reason }];
        await call("POST", `/api/models/${version}/${act}${at(model)}`, body);
        return `v${version} serves now.`;
      },
    });
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act^='traffic-']");
  if (button) ACTS[button.dataset.act](button.dataset, button.closest("#traffic"));
});

document.addEventListener("submit", async (event) => {
  if (event.target.id !== "replay-form") return;
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  button.disabled = true;
  $("replay-error").hidden = true;
  try {
    const job = await call("POST", "/api/replays", {
      model: form.dataset.model, version: Number(form.dataset.version),
      since: `${$("replay-hours").value}h`, limit: Number($("replay-limit").value),
    });
    location.assign(job.page_url);
  } catch (problem) {
    $("replay-error").textContent = problem.message;
    $("replay-error").hidden = false;
    button.disabled = false;
  }
});
