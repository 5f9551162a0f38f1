// Boxes over a picture: an SVG in the picture's own pixels, with labels of constant size on
// screen that keep out of each other's way.

import { svg } from "./dom.js";
import { score } from "./words.js";

const INKS = 8;
const LABEL_HEIGHT = 24;
const PADDING = 7;
const GAP = 3;
const measure = document.createElement("canvas").getContext("2d");
measure.font = '600 13px -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';

/** Colour and line pattern of a label: its place among the model's labels, else by its letters. */
export function inkOf(label, labels) {
  const place = labels.indexOf(label);
  if (place >= 0) return place % INKS;
  let sum = 0;
  for (const letter of label) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  return sum % INKS;
}

const overlap = (a, b) =>
  Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));

/** Places around a box where its label may go, best first (screen pixels). */
function places(box, width) {
  const height = LABEL_HEIGHT;
  const right = box.x + box.width;
  const bottom = box.y + box.height;
  return [
    [box.x, box.y - height - GAP],
    [box.x, bottom + GAP],
    [right - width, box.y - height - GAP],
    [right - width, bottom + GAP],
    [right + GAP, box.y],
    [box.x - width - GAP, box.y],
    [right + GAP, bottom - height],
    [box.x - width - GAP, bottom - height],
    [right + GAP, box.y - height - GAP],
    [box.x - width - GAP, bottom + GAP],
    [box.x + GAP, box.y + GAP],
  ].map(([x, y]) => ({ x, y, width, height }));
}

/**
 * Where labels go: full text where there is room, the number alone where there is not, and
 * nothing ("spare": shown while pointed at) where even that would hide another label.
 * `boxes` and `area` are in screen pixels; answers {x, y, width, height, text, spare} per box.
 */
export function layOut(boxes, area, textsOf) {
  const taken = [];
  const choose = (index, text, hidden) => {
    const width = Math.ceil(measure.measureText(text).width) + 2 * PADDING;
    let best = null;
    for (const [order, place] of places(boxes[index], width).entries()) {
      place.x = Math.min(Math.max(place.x, 1), Math.max(1, area.width - width - 1));
      place.y = Math.min(Math.max(place.y, 1), Math.max(1, area.height - LABEL_HEIGHT - 1));
      const onLabels = taken.reduce((sum, other) => sum + overlap(place, other), 0);
      const onBoxes = boxes.reduce((sum, box) => sum + overlap(place, box), 0);
      // `hidden`: how much of other boxes it may hide, as a share of itself; null: whatever.
      if (hidden !== null && (onLabels > 0 || onBoxes > hidden * width * LABEL_HEIGHT)) continue;
      const cost = onLabels * 20 + onBoxes + order * 12;
      if (!best || cost < best.cost) best = { ...place, text, cost };
    }
    return best;
  };
  // The surest detections choose their place first.
  return boxes.map((_, index) => {
    const [full, short] = textsOf(index);
    const place = choose(index, full, 0.3) ?? choose(index, short, 0.6);
    if (place) {
      taken.push(place);
      return { ...place, spare: false };
    }
    return { ...choose(index, full, null), spare: true };
  });
}

/**
 * Draws detections [{number, label, confidence, bbox, ink}] into `target`, whose viewBox is the
 * picture's size; `scale` is screen pixels per picture pixel.
 */
export function draw(target, { width, height, scale, detections }) {
  target.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const boxes = detections.map(({ bbox: [x, y, w, h], ink, number }) => {
    const shape = { x, y, width: w, height: h, "vector-effect": "non-scaling-stroke" };
    return svg("g", { class: `box ink-${ink}`, "data-number": number },
      svg("rect", { class: "halo", ...shape }), svg("rect", { class: "edge", ...shape }));
  });
  const onScreen = detections.map(({ bbox: [x, y, w, h] }) => ({
    x: x * scale, y: y * scale, width: w * scale, height: h * scale,
  }));
  const chips = layOut(
    onScreen,
    { width: width * scale, height: height * scale },
    (index) => {
      const { number, label, confidence } = detections[index];
      return [`${number}  ${label} ${score(confidence)}`, String(number)];
    },
  ).map((place, index) => {
    const { ink, number } = detections[index];
    return svg("g", {
      class: `label ink-${ink}${place.spare ? " is-spare" : ""}`, "data-number": number,
      transform: `translate(${place.x / scale} ${place.y / scale}) scale(${1 / scale})`,
    },
    svg("rect", { width: place.width, height: place.height, rx: 5 }),
    svg("text", { x: PADDING, y: 16.5 }, place.text));
  });
  // Spare labels last: they appear on top of the others.
  const spare = chips.filter((chip) => chip.classList.contains("is-spare"));
  target.replaceChildren(...boxes, ...chips.filter((chip) => !spare.includes(chip)), ...spare);
}

/** Lifts one detection out by its number; null lifts none. */
export function highlight(target, number) {
  target.classList.toggle("has-on", number !== null);
  for (const element of target.querySelectorAll("[data-number]")) {
    element.classList.toggle("is-on", Number(element.dataset.number) === number);
  }
}
