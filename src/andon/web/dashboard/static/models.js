// The Models page: deploy, activate, roll back, delete, compare.

import { startCompare } from "./compare.js";
import { startDeploy } from "./deploy.js";
import { $, say } from "./dom.js";
import { call } from "./http.js";
import { keepFresh, refresh } from "./live.js";

const dialog = $("dialog");
const query = () => `?model=${encodeURIComponent(document.body.dataset.model)}`;
let act = null; // what the dialog's button does; null: it only explains

/** Opens the dialog. Without `run` it explains and can only be closed. */
function ask({ title, text, button = "", danger = false, reason = false, run = null }) {
  act = run;
  $("dialog-title").textContent = title;
  $("dialog-text").textContent = text;
  $("dialog-field").hidden = !reason;
  $("dialog-reason").value = "";
  $("dialog-error").hidden = true;
  $("dialog-go").hidden = run === null;
  $("dialog-go").disabled = false;
  $("dialog-go").textContent = button;
  $("dialog-go").classList.toggle("danger", danger);
  $("dialog-cancel").textContent = run === null ? "Close" : "Cancel";
  dialog.showModal();
  (reason ? $("dialog-reason") : $("dialog-cancel")).focus();
}

$("dialog-cancel").addEventListener("click", () => dialog.close());
$("dialog-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = $("dialog-go");
  const words = button.textContent;
  button.disabled = true;
  button.textContent = "Working";
  $("dialog-error").hidden = true;
  try {
    const done = await act($("dialog-reason").value.trim());
    dialog.close();
    say(done);
    await refresh();
  } catch (problem) {
    $("dialog-error").textContent = problem.message;
    $("dialog-error").hidden = false;
  } finally {
    button.disabled = false;
    button.textContent = words;
  }
});

const active = () => $("models").dataset.active;

const ACTS = {
  activate(version, { damaged }) {
    if (damaged) {
      ask({ title: `v${version} cannot serve`, text: `${damaged} Deploy the file again to get a version that can.` });
      return;
    }
    const from = active() ? `It is loaded and checked first; v${active()} serves until it is ready.` : "It is loaded and checked first.";
    ask({
      title: `Let v${version} serve?`, text: from, button: `Activate v${version}`, reason: true,
      run: async (reason) => {
        await call("POST", `/api/models/${version}/activate${query()}`, { reason });
        return `v${version} serves now.`;
      },
    });
  },
  rollback(version) {
    const { previous } = $("models").dataset;
    if (!previous) {
      ask({ title: "Nothing to go back to", text: `v${version} is the only version that has served. Deploy another one first; then a roll back can return to v${version}.` });
      return;
    }
    ask({
      title: `Go back to v${previous}?`, button: `Roll back to v${previous}`, reason: true,
      text: `v${previous} served before v${version}. v${version} serves until v${previous} is ready, and is kept.`,
      run: async (reason) => {
        const answer = await call("POST", "/api/rollback", { model: document.body.dataset.model, reason });
        return `Rolled back. v${answer.version} serves now.`;
      },
    });
  },
  delete(version, { isActive }) {
    if (isActive !== undefined) {
      ask({ title: `v${version} serves, so it stays`, text: `Deleting it would stop the line. Activate another version first; then v${version} can be deleted.` });
      return;
    }
    ask({
      title: `Delete v${version}?`, button: `Delete v${version}`, danger: true,
      text: "The model file is removed for good. Its inspections and its history stay.",
      run: async () => {
        await call("DELETE", `/api/models/${version}${query()}`);
        return `v${version} is deleted.`;
      },
    });
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) ACTS[button.dataset.act](Number(button.dataset.version), button.dataset);
});

startDeploy();
startCompare();
document.addEventListener("andon:refreshed", startCompare);
keepFresh(10);
