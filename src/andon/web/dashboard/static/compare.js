// Two versions on one picture, side by side.

import { $, h, svg } from "./dom.js";
import { droppable } from "./dropping.js";
import { upload } from "./http.js";
import { draw, inkOf } from "./overlay.js";
import { millis, plural, score } from "./words.js";

const SAME = 0.5; // boxes that overlap this much (IoU) and share a label mean the same thing

function iou([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const across = Math.max(0, Math.min(ax + aw, bx + bw) - Math.max(ax, bx));
  const down = Math.max(0, Math.min(ay + ah, by + bh) - Math.max(ay, by));
  const both = across * down;
  return both / (aw * ah + bw * bh - both || 1);
}

/** How many of `some` have a partner in `others`; each partner counts once. */
function agreeing(some, others) {
  const left = [...others];
  return some.filter((one) => {
    const place = left.findIndex((other) => other.label === one.label && iou(one.bbox, other.bbox) >= SAME);
    if (place >= 0) left.splice(place, 1);
    return place >= 0;
  }).length;
}

function said(a, b) {
  const both = agreeing(a, b);
  if (!a.length && !b.length) return "Neither version found anything.";
  if (both === a.length && both === b.length) return `Both versions found the same: ${plural(both, "defect")}.`;
  const parts = [`${plural(both, "defect")} found by both`];
  if (a.length > both) parts.push(`${a.length - both} only by A`);
  if (b.length > both) parts.push(`${b.length - both} only by B`);
  return `${parts.join(", ")}.`;
}

function figure(name, side, picture, detections, labels) {
  const overlay = svg("svg", { class: "boxes", "aria-hidden": "true" });
  const image = h("img", { src: picture.src, alt: "", width: picture.width, height: picture.height });
  const canvas = h("div", { class: "canvas" }, image, overlay);
  const numbered = detections.map((one, index) => ({ ...one, number: index + 1, ink: inkOf(one.label, labels) }));
  new ResizeObserver(() => {
    if (canvas.clientWidth) draw(overlay, { ...picture, scale: canvas.clientWidth / picture.width, detections: numbered });
  }).observe(canvas);
  return h("figure", {}, h("figcaption", {}, `${name}: v${side.version}`, h("span", { class: "meta" }, plural(detections.length, "defect"))), canvas);
}

function table({ model_a: a, model_b: b }) {
  const line = (name, of) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, of(a)), h("td", {}, of(b)));
  return h("table", { class: "compare-table" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Measured"), h("th", { scope: "col" }, `A: v${a.version}`), h("th", { scope: "col" }, `B: v${b.version}`))),
    h("tbody", {},
      line("Defects", (one) => String(one.detections)),
      line("Mean confidence", (one) => score(one.avg_confidence)),
      line("Time in the model", (one) => millis(one.inference_time * 1000))));
}

async function sizeOf(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return { src, width: image.naturalWidth, height: image.naturalHeight };
}

async function compare(file) {
  const result = $("compare-result");
  const button = $("compare-button");
  const form = new FormData();
  form.append("a", $("compare-a").value);
  form.append("b", $("compare-b").value);
  form.append("model", document.body.dataset.model);
  form.append("image", file, file.name);
  button.disabled = true;
  button.textContent = "Comparing";
  result.hidden = false;
  try {
    const answer = await upload("/api/compare", form);
    const picture = await sizeOf(URL.createObjectURL(file));
    const [a, b] = [answer.detections_a, answer.detections_b];
    const labels = $("models").dataset.labels.split("\n"); // the same colours as on Inspect
    result.replaceChildren(
      h("p", { class: "compare-said" }, said(a, b)),
      h("div", { class: "pair" }, figure("A", answer.model_a, picture, a, labels), figure("B", answer.model_b, picture, b, labels)),
      table(answer));
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
  const words = $("compare-name");
  droppable($("compare-drop"), $("compare-file"), (file) => {
    if (file) words.replaceChildren(h("strong", {}, file.name));
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    compare($("compare-file").files[0]);
  });
}
