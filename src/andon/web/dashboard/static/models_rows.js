// Models of rows: promote, archive, roll back, delete, compare.

import { startCompare } from "./compare_rows.js";
import { ask } from "./dialog.js";
import { $ } from "./dom.js";
import { call } from "./http.js";
import { keepFresh } from "./live.js";
import { move, promote } from "./promoting.js";

const model = document.body.dataset.model;
const query = `?model=${encodeURIComponent(model)}`;

const ACTS = {
  promote(version) {
    promote(model, version, $("models").dataset.active);
  },
  archive(version) {
    move(model, version, "archived", {
      title: `Archive v${version}?`, button: `Archive v${version}`, done: `v${version} is archived.`,
      text: "It is put away and can be promoted again at any time. Its file and history stay.",
    });
  },
  stage(version, { warning }) {
    move(model, version, "staging", {
      title: `Put v${version} into staging?`, button: "To staging", done: `v${version} waits in staging.`,
      text: `${warning} It does not serve yet, and waits for a decision.`.trim(),
    });
  },
  rollback(version) {
    const { previous } = $("models").dataset;
    ask({
      title: `Go back to v${previous}?`, button: `Roll back to v${previous}`, reason: true,
      text: version ? `v${previous} served before v${version}, which is kept.` : `v${previous} served before.`,
      run: async (reason) => {
        const answer = await call("POST", "/api/rollback", { model, reason });
        return `Rolled back. v${answer.version} serves now.`;
      },
    });
  },
  delete(version, { isActive }) {
    if (isActive !== undefined) {
      ask({ title: `v${version} serves, so it stays`, text: `Deleting it would leave rows unanswered. Promote another version first; then v${version} can be deleted.` });
      return;
    }
    ask({
      title: `Delete v${version}?`, button: `Delete v${version}`, danger: true,
      text: "The model file is removed for good. Its answers and its history stay.",
      run: async () => {
        await call("DELETE", `/api/models/${version}${query}`);
        return `v${version} is deleted.`;
      },
    });
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) ACTS[button.dataset.act]?.(button.dataset.version ? Number(button.dataset.version) : 0, button.dataset);
});

startCompare();
document.addEventListener("andon:refreshed", startCompare);
keepFresh(10);
