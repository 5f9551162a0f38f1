// Inspect for models of rows: a row in, the answer and what moved it out, and what it really was.

import { showAnswer } from "./answer.js";
import { $ } from "./dom.js";
import { call } from "./http.js";
import { keepFresh, refresh } from "./live.js";

const form = $("row-form");
const ask = $("ask");
const truth = $("truth");
const fields = form ? [...form.querySelectorAll(".row-field")] : [];

const control = (field) => field.querySelector("input, select");

/** The text beside a field: why its value is not taken; empty: it is. */
function complain(field, words) {
  const error = field.querySelector(".row-error");
  field.classList.toggle("is-wrong", Boolean(words));
  error.textContent = words;
  error.hidden = !words;
  const input = control(field);
  if (words) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

/** Why a value cannot be sent; empty where it can. */
function wrong(field) {
  const input = control(field);
  if (input.validity.badInput) return "This is not a number.";
  if (input.value === "") return "nullable" in field.dataset ? "" : "Please say a value.";
  const number = field.dataset.kind !== "category";
  if (number && input.min !== "" && Number(input.value) < Number(input.min)) return `At least ${input.min}.`;
  if (number && input.max !== "" && Number(input.value) > Number(input.max)) return `At most ${input.max}.`;
  if (field.dataset.kind === "integer" && !Number.isInteger(Number(input.value))) return "A whole number.";
  return "";
}

function valueOf(field) {
  const { value } = control(field);
  if (value === "") return null;
  return field.dataset.kind === "category" ? JSON.parse(value) : Number(value);
}

function tell(words) {
  $("row-problem").textContent = words;
  $("row-problem").hidden = !words;
}

/** Puts the server's complaints beside their fields; what belongs to none comes below. */
function blame(problem) {
  const rest = [];
  for (const { field: name, detail } of problem.errors ?? []) {
    const plain = name?.replace(/^features\./, "");
    const field = fields.find((one) => one.dataset.feature === plain);
    if (field) complain(field, detail);
    else rest.push(`${name}: ${detail}`);
  }
  const placed = fields.some((one) => one.classList.contains("is-wrong"));
  tell(rest.length || !placed ? [placed ? "" : problem.message, ...rest].filter(Boolean).join(" ") : "");
}

function focusWrong() {
  const first = fields.find((one) => one.classList.contains("is-wrong"));
  if (first) control(first).focus();
}

async function predict() {
  const button = $("predict");
  const answer = $("answer");
  const features = Object.fromEntries(fields.map((field) => [field.dataset.feature, valueOf(field)]));
  const subject = $("subject").value.trim();
  const body = { model: ask.dataset.model, features, explain: true, ...(subject && { subject }) };
  button.disabled = true;
  answer.setAttribute("aria-busy", "true");
  try {
    const told = await call("POST", "/predict", body);
    showAnswer(answer, told, ask.dataset);
    history.replaceState(null, "", `/inspect?id=${told.prediction_id}`);
    openTruth(told.prediction_id);
    // On a phone the answer lies below the form.
    if (answer.getBoundingClientRect().top > innerHeight - 160) answer.scrollIntoView();
    await refresh(`/inspect?model=${encodeURIComponent(ask.dataset.model)}`);
  } catch (problem) {
    blame(problem);
    focusWrong();
  } finally {
    button.disabled = false;
    answer.removeAttribute("aria-busy");
  }
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  tell("");
  for (const field of fields) complain(field, wrong(field));
  if (fields.some((one) => one.classList.contains("is-wrong"))) focusWrong();
  else if ($("predict")) predict();
});

form?.addEventListener("reset", () => {
  tell("");
  for (const field of fields) complain(field, "");
});

form?.addEventListener("change", (event) => {
  const field = event.target.closest(".row-field");
  if (field) complain(field, wrong(field));
});

// -- What it really was -----------------------------------------------------------------

function openTruth(id) {
  truth.dataset.id = id;
  truth.hidden = false;
  $("truth-said").textContent = "Your word is kept with the answer; the live figures are made from such words.";
  for (const button of truth.querySelectorAll("button")) button.removeAttribute("aria-pressed");
}

truth?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  if (!button) return;
  try {
    await call("POST", "/api/feedback", { prediction_id: truth.dataset.id, actual: JSON.parse(button.value) });
    $("truth-said").textContent = `Kept: it was ${button.dataset.text}. Another word replaces it.`;
    for (const one of truth.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one === button));
    await refresh(`/inspect?model=${encodeURIComponent(ask.dataset.model)}`);
  } catch (problem) {
    $("truth-said").textContent = problem.message;
  }
});

keepFresh(10);
