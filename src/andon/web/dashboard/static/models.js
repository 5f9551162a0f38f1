// The Models page: deploy, activate, roll back, delete, compare.

import { startCompare } from "./compare.js";
import { startDeploy } from "./deploy.js";
import { ask } from "./dialog.js";
import { $ } from "./dom.js";
import { call } from "./http.js";
import { keepFresh } from "./live.js";

const query = () => `?model=${encodeURIComponent(document.body.dataset.model)}`;
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
  if (button) ACTS[button.dataset.act]?.(Number(button.dataset.version), button.dataset);
});

startDeploy();
startCompare();
document.addEventListener("andon:refreshed", startCompare);
keepFresh(10);
