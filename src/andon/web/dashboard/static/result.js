// The panel beside the picture: what was found, in words, as a list and in numbers.

import { h } from "./dom.js";
import { exact, millis, plural, score, sick, unjudged, verdict } from "./words.js";

function row(found, on) {
  const [x, y, width, height] = found.bbox;
  return h("li", {}, h("button", {
    type: "button", class: "found-row", "data-number": found.number,
    pointerenter: () => on(found.number), pointerleave: () => on(null),
    focus: () => on(found.number, true), blur: () => on(null),
    click: () => on(found.number, true),
  },
  h("span", { class: `swatch ink-${found.ink}` }, String(found.number)),
  h("span", { class: "found-label" }, found.label,
    h("span", { class: "found-where number" }, `at ${x}, ${y}; ${width} × ${height} px`)),
  h("span", { class: "found-score number" }, score(found.confidence))));
}

const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, ...value));

function took({ latency, inference, cached }) {
  const all = millis(latency);
  if (inference === null) return all;
  return cached ? `${all}; the model took ${millis(inference)} the first time` : `${all}, ${millis(inference)} in the model`;
}

/** Fills `panel` for an answer; `on(number | null, reveal)` when a row is pointed at. */
export function showResult(panel, { answer, shown, threshold, line, on }) {
  const below = answer.detections.length - shown.length;
  const spoken = answer.classes.length && !answer.detections.length
    ? `${answer.classes[0][0]} ${score(answer.classes[0][1])}`
    : (!answer.detections.length && unjudged(answer.cameraState)) || verdict(shown, threshold);
  const ill = sick(answer.cameraState);
  const notes = [];
  if (below > 0) notes.push(`${plural(below, "fainter one")} below ${score(threshold)} not shown.`);
  if (Math.abs(threshold - line) > 0.001) {
    const counted = answer.detections.filter((one) => one.confidence >= line).length;
    notes.push(`The line counts from ${score(line)}: ${counted === 0 ? "nothing" : plural(counted, "defect")}.`);
  }
  if (answer.floor > threshold + 0.001) {
    notes.push(`Below ${score(answer.floor)} nothing is known: ${answer.limited ?? "it was not asked for."}`);
  }
  panel.hidden = false;
  panel.replaceChildren(
    h("h2", { class: "verdict" }, spoken),
    ...(ill ? [h("p", { class: "sick", role: "note" }, ill)] : []),
    ...(notes.length ? [h("p", { class: "meta" }, notes.join(" "))] : []),
    ...(shown.length ? [h("ol", { class: "found" }, shown.map((found) => row(found, on)))] : []),
    ...(answer.classes.length ? [h("ul", { class: "classes" }, answer.classes.map(([label, value]) =>
      h("li", {}, h("span", {}, label), h("meter", { min: 0, max: 1, value }), h("span", { class: "number" }, score(value)))))] : []),
    h("dl", { class: "facts" },
      fact("Picture", `${answer.name}, ${answer.width} × ${answer.height} px`),
      fact("Answered by", h("a", { href: `/models/${answer.version}?model=${encodeURIComponent(answer.model)}` }, `v${answer.version}`), answer.cached ? ", from the cache" : ""),
      answer.camera ? fact("Camera", answer.camera) : null,
      fact("When", h("time", { datetime: answer.when.toISOString() }, exact(answer.when))),
      fact("Time", took(answer)),
      answer.anomaly === null ? null : fact("Anomaly", score(answer.anomaly))),
    h("p", { class: "links" },
      answer.annotated ? h("a", { href: answer.annotated }, "Picture with boxes") : null,
      h("a", { href: `/inspect?id=${answer.id}` }, "Link to this"),
      h("a", { href: `/api/predictions/${answer.id}` }, "JSON")),
  );
}

/** Marks the row of one detection; null marks none. */
export function markRow(panel, number) {
  for (const element of panel.querySelectorAll(".found-row")) {
    element.classList.toggle("is-on", Number(element.dataset.number) === number);
  }
}
