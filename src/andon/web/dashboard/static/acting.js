// Approvals, the agent's actions and alerts: decide, take on, resolve, undo.

import { ask } from "./dialog.js";
import { call } from "./http.js";
import { keepFresh } from "./live.js";
import "./sieve.js";

const path = (kind, id, act) => `/api/${kind}/${encodeURIComponent(id)}/${act}`;

function decide(act, { id, text, risk, changes }) {
  const yes = act === "approve";
  ask({
    title: yes ? `Approve: ${text}?` : `Reject: ${text}?`,
    text: yes ? changes : "Nothing is done. Where the cause stays, the agent may propose it again later.",
    button: yes ? "Approve" : "Reject", danger: yes && risk === "high",
    reason: "Comment", who: true,
    sure: yes && risk === "high" ? "I have read what it changes and how to undo it." : "",
    settled: "This is already decided",
    run: async (comment, { who }) => {
      const answer = await call("POST", path("actions", id, act), { by: who, comment });
      if (!yes) return "Rejected. Nothing is done.";
      return answer?.status === "pending" ? "Noted. One more person must agree." : "Approved. It is done within a second or two.";
    },
  });
}

const ACTS = {
  approve: (about) => decide("approve", about),
  reject: (about) => decide("reject", about),
  acknowledge({ id, title }) {
    ask({
      title: `Look after “${title}”?`, text: "Others see your name and that somebody is on it. The alert stays open.",
      button: "I look after it", who: true, settled: "This alert is over",
      run: async (_, { who }) => {
        await call("POST", path("alerts", id, "acknowledge"), { by: who });
        return "Noted: you look after it.";
      },
    });
  },
  resolve({ id, title }) {
    ask({
      title: `Resolve “${title}”?`, text: "An alert goes by itself when its cause is gone. Resolve it where you know that it is over.",
      button: "Resolve", reason: "What was done", who: true, settled: "This alert is over",
      run: async (notes, { who }) => {
        await call("POST", path("alerts", id, "resolve"), { by: who, notes });
        return "The alert is resolved.";
      },
    });
  },
  "undo-activate"({ model, version, text, button, rows }) {
    ask({
      title: `${button}?`, text, button, reason: "Reason", settled: "It serves already",
      run: async (reason) => {
        const [act, body] = rows === undefined ? ["activate", { reason }] : ["stage", { stage: "production", reason }];
        await call("POST", `/api/models/${version}/${act}?model=${encodeURIComponent(model)}`, body);
        return `v${version} serves now.`;
      },
    });
  },
  "undo-threshold"({ id, text, button }) {
    ask({
      title: `${button}?`, text, button, reason: "Comment", who: true, settled: "It was moved since",
      run: async (comment, { who }) => {
        await call("POST", path("actions", id, "undo"), { by: who, comment });
        return "The threshold goes back within a second or two.";
      },
    });
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) ACTS[button.dataset.act]?.(button.dataset);
});

// -- Asking for an action --

document.addEventListener("submit", (event) => {
  if (event.target.id !== "ask-form") return;
  event.preventDefault();
  const kind = event.target.querySelector("#ask-kind");
  const model = event.target.querySelector("#ask-model").value;
  ask({
    title: `${kind.selectedOptions[0].textContent}: ${model}?`,
    text: "Who asks agrees. Where the policy wants a second person, it waits under Approvals.",
    button: "Ask", reason: "Reason", who: true,
    run: async (reason, { who }) => {
      const answer = await call("POST", "/api/actions", { action_type: kind.value, model, by: who, reason });
      return answer?.status === "pending" ? "Noted. One more person must agree." : "It is done within a second or two.";
    },
  });
});

keepFresh(5);
