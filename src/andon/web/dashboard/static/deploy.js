// Deploying a model file: upload, then checked and proven by the server, then live or refused.

import { $, h } from "./dom.js";
import { droppable } from "./dropping.js";
import { upload } from "./http.js";
import { refresh } from "./live.js";
import { size } from "./words.js";

const PHASES = ["upload", "check", "live"];

/** Marks the phases: those before `now` done, `now` running, or refused there. */
function phase(now, bad = false) {
  const at = PHASES.indexOf(now);
  for (const [index, name] of PHASES.entries()) {
    const element = $(`phase-${name}`);
    const state = index < at ? "is-done" : index > at ? "" : bad ? "is-bad" : "is-now";
    element.className = state;
    element.toggleAttribute("aria-current", state === "is-now");
  }
}

function tell(text, bad = false) {
  const said = $("deploy-said");
  said.classList.toggle("is-bad", bad);
  if (said.textContent !== text) said.textContent = text;
}

/** Only what a person filled in; the rest is recognised from the file. */
function options() {
  const made = {};
  for (const name of ["head", "resize", "scale"]) {
    if ($(`option-${name}`).value) made[name] = $(`option-${name}`).value;
  }
  const labels = $("option-labels").value.split(",").map((one) => one.trim()).filter(Boolean);
  if (labels.length) made.labels = labels;
  if ($("option-threshold").value) made.threshold = Number($("option-threshold").value);
  return made;
}

function formData(file) {
  const form = new FormData();
  // Fields before the file: the server knows them when the first byte of the file arrives.
  form.append("notes", $("model-notes").value);
  form.append("model_name", $("option-name").value.trim());
  if ($("option-hold").checked) form.append("activate", "false");
  const chosen = options();
  if (Object.keys(chosen).length) form.append("options", JSON.stringify(chosen));
  form.append("model", file, file.name);
  return form;
}

function progress(part) {
  const bar = $("deploy-bar");
  if (part < 1) {
    bar.value = part * 100;
    tell(`Uploading ${Math.round(part * 100)} %`);
    return;
  }
  phase("check");
  bar.removeAttribute("value");
  tell("Checking the file and running it on a sample. This can take some seconds.");
}

function finish() {
  $("deploy-bar").value = 100;
  $("deploy-bar").classList.add("is-still");
  $("deploy-again").hidden = false;
  $("deploy-again").focus();
}

async function deploy(file, maxBytes) {
  $("deploy-form").hidden = true;
  $("deploy-progress").hidden = false;
  $("deploy-again").hidden = true;
  $("deploy-bar").classList.remove("is-still");
  phase("upload");
  progress(0);
  const active = $("models").dataset.active;
  const before = active ? `v${active} goes on serving.` : "Nothing was changed.";
  if (file.size > maxBytes) {
    phase("upload", true);
    tell(`The file is ${size(file.size)}; at most ${size(maxBytes)} are taken. ${before}`, true);
    finish();
    return;
  }
  const hold = $("option-hold").checked;
  let reached = "upload";
  try {
    const answer = await upload("/api/models/upload", formData(file), (part) => {
      if (part >= 1) reached = "check";
      progress(part);
    });
    phase("live");
    $("phase-live").className = hold ? "" : "is-done";
    $("phase-check").className = "is-done";
    const name = `v${answer.version}`;
    if (answer.duplicate) tell(`This file is ${name} already. ${hold ? "Nothing was changed." : `${name} serves.`}`);
    else if (hold) tell(`${name} is ready. Activate it below when it should serve.`);
    else tell(`Live as ${name}. The next picture is answered by it.`);
    if (answer.model && answer.model !== document.body.dataset.model) {
      $("deploy-said").append(" ", h("a", { href: `/models?model=${encodeURIComponent(answer.model)}` }, `Go to ${answer.model}`));
    }
    for (const warning of answer.warnings ?? []) $("deploy-said").append(h("br"), `Please check: ${warning}`);
    $("model-notes").value = "";
  } catch (problem) {
    phase(reached, true);
    tell(`${problem.message} ${before}`, true);
  }
  finish();
  await refresh();
}

export function startDeploy() {
  const form = $("deploy-form");
  const input = $("model-file");
  const words = $("model-name");
  const untouched = [...words.childNodes];
  const chosen = (file) => {
    words.replaceChildren(...(file ? [h("strong", {}, file.name), ` ${size(file.size)}`] : untouched));
  };
  droppable($("model-drop"), input, chosen);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    deploy(input.files[0], Number(form.dataset.maxBytes));
  });
  $("deploy-again").addEventListener("click", () => {
    $("deploy-progress").hidden = true;
    form.reset();
    chosen(null);
    form.hidden = false;
    input.focus();
  });
}
