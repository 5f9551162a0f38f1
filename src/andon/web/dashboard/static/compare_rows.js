// Two versions on the same rows: which is better, how sure that is, and where they differ.

import { $, h } from "./dom.js";
import { call } from "./http.js";
import { plural, score } from "./words.js";

const WORSE = " (lower is better)";
const NAMES = { f1: "F1", roc_auc: "ROC-AUC", accuracy: "Accuracy", precision: "Precision", recall: "Recall", pr_auc: "PR-AUC", brier: `Brier score${WORSE}`, log_loss: `Log loss${WORSE}` };
const SHOWN = 20; // rows with different answers; all of them are in the API's answer

/** A difference with its sign, as wording.py writes it; nothing has none. */
function signed(value) {
  const size = Math.abs(value).toFixed(2);
  if (size === "0.00") return size;
  return `${value < 0 ? "\u2212" : "+"}${size}`;
}

function table(label, heads, rows) {
  return h("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": label },
    h("table", { class: "rows" },
      h("thead", {}, h("tr", {}, heads.map(([text, number]) => h("th", { scope: "col", class: number ? "n" : null }, text)))),
      h("tbody", { class: "number" }, rows.map((cells) => h("tr", {}, cells.map((cell, place) => place
        ? h("td", { class: heads[place][1] ? "n" : null }, cell)
        : h("th", { scope: "row" }, cell)))))));
}

function metrics({ a, b, metrics: found }) {
  const rows = Object.entries(found ?? {}).filter(([, one]) => one).map(([name, one]) => [
    NAMES[name] ?? name, score(one.a), score(one.b), `${signed(one.difference)} (${signed(one.low)} to ${signed(one.high)})`,
  ]);
  if (!rows.length) return null;
  return table("Metrics", [["Metric"], [`v${a}`, true], [`v${b}`, true], [`v${b} against v${a}`, true]], rows);
}

/** A class for people, as the page knows it. */
function named(value) {
  if (value === null || value === undefined) return "–";
  return JSON.parse($("compare").dataset.classes)[String(value)] ?? String(value);
}

function flips({ a, b, flips: found, flips_total: total }) {
  if (!found?.length) return null;
  const said = ({ label, probability }) => `${label}, ${score(probability)}`;
  const { positive } = $("compare").dataset;
  const rows = found.slice(0, SHOWN).map((one) => [
    one.prediction_id ? h("a", { href: `/inspect?id=${one.prediction_id}` }, `Row ${one.index + 1}`) : `Row ${one.index + 1}`,
    said(one.a), said(one.b), named(one.actual),
  ]);
  const more = total > rows.length ? `, ${rows.length} of them here` : "";
  return h("details", {},
    h("summary", {}, `${plural(total, "row")} answered differently${more}`),
    h("p", { class: "meta table-note" }, `Beside each answer: the probability of ${positive || "it"}.`),
    table("Rows answered differently", [["Row"], [`v${a}`], [`v${b}`], ["What it was"]], rows));
}

function show(answer) {
  $("compare-result").replaceChildren(...[
    h("p", { class: "compare-said" }, answer.verdict),
    metrics(answer),
    flips(answer),
  ].filter(Boolean));
}

async function compare() {
  const button = $("compare-button");
  const result = $("compare-result");
  const body = { model: document.body.dataset.model, a: Number($("compare-a").value), b: Number($("compare-b").value) };
  button.disabled = true;
  button.textContent = "Comparing";
  result.hidden = false;
  try {
    show(await call("POST", "/api/models/compare", body));
  } catch (problem) {
    result.replaceChildren(h("p", { class: "field-error" }, problem.message));
  } finally {
    button.disabled = false;
    button.textContent = "Compare";
  }
}

let wired = null;

/** Wires the comparison, whose form comes with the second version and may go again. */
export function startCompare() {
  const form = $("compare-form");
  if (!form || form === wired) return;
  wired = form;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    compare();
  });
}
