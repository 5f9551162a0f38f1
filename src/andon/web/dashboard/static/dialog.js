// One question at a time: what is to happen, perhaps why, and the button that does it.

import { $, say } from "./dom.js";
import { refresh } from "./live.js";

const dialog = $("dialog");
let act = null; // what the dialog's button does; null: it only explains

/**
 * Opens the dialog. Without `run` it explains and can only be closed. `run` gets the reason and
 * answers with a sentence to say when it is done.
 */
export function ask({ title, text, button = "", danger = false, reason = false, run = null }) {
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

$("dialog-reason").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("dialog-form").requestSubmit($("dialog-go"));
});
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
    // What opened it may be gone or at rest now: whoever uses the keyboard goes on from the page.
    if (document.activeElement === document.body) $("main").focus({ preventScroll: true });
  } catch (problem) {
    $("dialog-error").textContent = problem.message;
    $("dialog-error").hidden = false;
  } finally {
    button.disabled = false;
    button.textContent = words;
  }
});
