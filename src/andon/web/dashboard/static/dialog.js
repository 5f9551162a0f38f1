// One question at a time: what is to happen, perhaps why and by whom, and the button that does it.

import { $, say } from "./dom.js";
import { refresh } from "./live.js";

const NAME = "andon-name"; // where the browser keeps who decides here
const dialog = $("dialog");
let act = null; // what the dialog's button does; null: it only explains
let asked = {}; // what the dialog was opened with
let opener = null; // the button that opened it

function remembered() {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

function remember(name) {
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // Then it is asked for anew each time.
  }
}

/**
 * Opens the dialog. Without `run` it explains and can only be closed. `run` gets the reason and
 * `{ who, amount }`, and answers with a sentence to say when it is done.
 *
 * `reason`: whether to ask why, or what that field is called. `who`: whether to ask for a name.
 * `sure`: a sentence to tick first. `amount`: `{ label, min, max, value }` of a number to ask for.
 * `settled`: the title under which it is told that the question is over, where the server says
 * so (409) and the button that asked is gone.
 */
export function ask({ title, text, button = "", danger = false, run = null, ...more }) {
  act = run;
  asked = more;
  opener = document.activeElement;
  const { reason = false, who = false, sure = "", amount = null } = more;
  $("dialog-title").textContent = title;
  $("dialog-text").textContent = text;
  $("dialog-field").hidden = !reason;
  $("dialog-reason-label").textContent = typeof reason === "string" ? reason : "Reason";
  $("dialog-reason").value = "";
  $("dialog-who-field").hidden = !who;
  $("dialog-who").value = remembered();
  $("dialog-sure-field").hidden = !sure;
  $("dialog-sure-text").textContent = sure;
  $("dialog-sure").checked = false;
  $("dialog-amount-field").hidden = !amount;
  if (amount) {
    $("dialog-amount-label").textContent = amount.label;
    Object.assign($("dialog-amount"), { min: amount.min, max: amount.max, value: amount.value });
  }
  $("dialog-error").hidden = true;
  $("dialog-go").hidden = run === null;
  $("dialog-go").disabled = false;
  $("dialog-go").textContent = button;
  $("dialog-go").classList.toggle("danger", danger);
  $("dialog-cancel").textContent = run === null ? "Close" : "Cancel";
  dialog.showModal();
  (amount ? $("dialog-amount") : reason ? $("dialog-reason") : who ? $("dialog-who") : $("dialog-cancel")).focus();
}

/** What is missing or wrong in the fields: the sentence and the field; null when nothing is. */
function lacking() {
  const { who = false, sure = "", amount = null } = asked;
  const number = Number($("dialog-amount").value);
  if (amount && !(number >= amount.min && number <= amount.max)) {
    return [`Please give a number from ${amount.min} to ${amount.max}.`, $("dialog-amount")];
  }
  if (who && !$("dialog-who").value.trim()) {
    return ["Please say who you are: it is kept with the decision.", $("dialog-who")];
  }
  if (sure && !$("dialog-sure").checked) return ["Please tick the box first.", $("dialog-sure")];
  return null;
}

function fail(words) {
  $("dialog-error").textContent = words;
  $("dialog-error").hidden = false;
}

/** The question is over: says so calmly, with nothing left to press but Close. */
function settle(title, words) {
  act = null;
  $("dialog-title").textContent = title;
  $("dialog-text").textContent = words;
  for (const id of ["dialog-field", "dialog-who-field", "dialog-sure-field", "dialog-amount-field", "dialog-go"]) $(id).hidden = true;
  $("dialog-cancel").textContent = "Close";
  $("dialog-cancel").focus();
}

$("dialog-reason").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("dialog-form").requestSubmit($("dialog-go"));
});
$("dialog-cancel").addEventListener("click", () => dialog.close());
$("dialog-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  // One answer at a time, whatever is pressed meanwhile.
  if (!act || $("dialog-go").disabled) return;
  $("dialog-error").hidden = true;
  const lack = lacking();
  if (lack) {
    fail(lack[0]);
    lack[1].focus();
    return;
  }
  const button = $("dialog-go");
  const words = button.textContent;
  button.disabled = true;
  button.textContent = "Working";
  try {
    const who = $("dialog-who").value.trim();
    if (asked.who) remember(who);
    const done = await act($("dialog-reason").value.trim(), { who, amount: Number($("dialog-amount").value) });
    dialog.close();
    say(done);
    await refresh();
    // What opened it may be gone or at rest now: whoever uses the keyboard goes on from the page.
    if (document.activeElement === document.body) $("main").focus({ preventScroll: true });
  } catch (problem) {
    if (problem.status === 409 && asked.settled) {
      await refresh();
      if (!opener?.isConnected) {
        settle(asked.settled, problem.message);
        return;
      }
    }
    fail(problem.message);
  } finally {
    button.disabled = false;
    button.textContent = words;
  }
});
