// The answer to a row: the class, where its probability lies, and the features that moved it.

import { h, svg } from "./dom.js";
import { millis, plural, score } from "./words.js";

const SHOWN = 10; // features in the explanation; more would not be read

function scale(probability, threshold, positive, name) {
  const picture = svg("svg", { viewBox: "0 0 100 44", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "scale-ground", x: 0, y: 16, width: 100, height: 14 }),
    svg("rect", { class: "scale-bar", x: 0, y: 16, width: (probability * 100).toFixed(2), height: 14 }),
    threshold === null ? null : svg("line", {
      class: "scale-mark", x1: threshold * 100, x2: threshold * 100, y1: 9, y2: 37, "vector-effect": "non-scaling-stroke",
    }));
  const words = threshold === null ? null : h("span", {}, `Answered from ${score(threshold)}`);
  return h("div", { class: positive ? "scale is-positive" : "scale" },
    h("p", { class: "number" }, h("span", { class: "scale-value" }, score(probability)), ` probability of ${name}`),
    picture,
    h("p", { class: "scale-words number" }, h("span", { "aria-hidden": "true" }, "0"), words, h("span", { "aria-hidden": "true" }, "1")));
}

/** A name that may be broken behind its underscores, as rendering.py has it. */
const breakable = (name) => name.split(/(?<=_)/).flatMap((part, place) => (place ? [h("wbr", {}), part] : [part]));

/** Every class with its probability, the likeliest first, where there are three or more. */
function classes(probabilities) {
  const words = new Map([...document.querySelectorAll("#truth [data-key]")].map((one) => [one.dataset.key, one.dataset.text]));
  const found = Object.entries(probabilities ?? {}).sort(([, a], [, b]) => b - a);
  if (found.length < 3) return "";
  return h("ul", { class: "moved", "aria-label": "Probabilities" }, found.slice(0, SHOWN).map(([key, value]) => h("li", {},
    h("span", { class: "moved-name" }, words.get(key) ?? key),
    svg("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "scale-ground", x: 0, y: 1, width: 100, height: 12 }),
      svg("rect", { class: "scale-bar", x: 0, y: 1, width: (value * 100).toFixed(2), height: 12 })),
    h("span", { class: "moved-size" }, score(value)))));
}

function row(one, largest) {
  const size = Math.min(1, Math.abs(one.effect) / largest) * 49;
  const towards = one.effect > 0;
  const bar = svg("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: towards ? "moved-towards" : "moved-away", x: towards ? 50 : 50 - size, y: 1, width: size, height: 12 }),
    svg("line", { class: "moved-axis", x1: 50, x2: 50, y1: 0, y2: 14, "vector-effect": "non-scaling-stroke" }));
  const sign = towards ? "+" : "\u2212";
  return h("li", {},
    h("span", { class: "moved-name" }, breakable(one.label), one.value === "" ? null : h("span", { class: "meta" }, ` ${one.value}`)),
    bar,
    h("span", { class: "moved-size" }, `${sign}${Math.abs(one.effect).toFixed(2)}`));
}

/** A value as the form shows it: the words of a choice, a number with its unit. */
function told(name, value) {
  const field = [...document.querySelectorAll(".row-field")].find((one) => one.dataset.feature === name);
  const label = field?.querySelector(".row-label")?.textContent.trim() ?? name;
  if (value === null || value === undefined) return { label, value: "unknown" };
  const choice = [...(field?.querySelectorAll("option") ?? [])].find((one) => one.value === JSON.stringify(value));
  return { label, value: choice ? choice.textContent : String(value) };
}

function moved(explanation, name) {
  const known = explanation.map(({ feature, value, change }) => ({ ...told(feature, value), effect: change }));
  const shown = known.filter((one) => Math.abs(one.effect) >= 0.005)
    .sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)).slice(0, SHOWN);
  if (!shown.length) return h("p", { class: "meta" }, "No feature moved this answer much: the row is a typical one.");
  const largest = Math.abs(shown[0].effect);
  const others = known.length - shown.length;
  const left = others ? ` ${plural(others, "other feature")} moved it less.` : "";
  return h("section", { class: "moved" },
    h("h3", {}, "What moved it"),
    h("p", { class: "moved-key" }, h("span", {}, `towards ${name}`), h("span", { class: "away" }, "away from it")),
    h("ul", {}, shown.map((one) => row(one, largest))),
    h("p", { class: "meta" }, `How much higher (+) or lower (\u2212) the probability is than with a typical value of that feature alone.${left}`));
}

function fact(name, ...value) {
  return h("div", {}, h("dt", {}, name), h("dd", { class: "number wrap" }, ...value));
}

/** Puts an answer of POST /predict into its panel. `about`: the data of #ask. */
export function showAnswer(panel, answer, about) {
  const threshold = about.threshold === undefined ? null : Number(about.threshold);
  const positive = about.positive !== undefined && String(answer.prediction) === about.positive;
  const looked = document.querySelector(`#truth [data-key="${CSS.escape(about.positive ?? "")}"]`)?.dataset.text;
  const words = answer.label ?? String(answer.prediction);
  const name = looked ?? words;
  const label = h("h2", { class: positive ? "answer-label is-positive" : "answer-label", id: "answer-label", tabindex: "-1" }, words);
  panel.replaceChildren(
    h("p", { class: "eyebrow" }, "Answer"),
    label,
    scale(answer.probability, threshold, positive, name),
    threshold === null ? classes(answer.probabilities) : "",
    answer.explanation?.length ? moved(answer.explanation, name) : "",
    h("dl", { class: "facts" },
      fact("Answered by", `v${answer.model_version} in ${millis(answer.latency_ms)}`),
      fact("Id", h("code", {}, answer.prediction_id))));
}

