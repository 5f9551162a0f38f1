// The frame that shows one picture with its boxes: fitting, zooming, moving.

import { h, svg } from "./dom.js";
import { draw, highlight } from "./overlay.js";

const STEPS = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8];

export class Stage {
  /** `onPoint(number | null)` when the pointer is over a box; `onZoom(words)` after a change. */
  constructor(frame, { onPoint = () => {}, onZoom = () => {} } = {}) {
    this.frame = frame;
    this.onZoom = onZoom;
    this.zoom = null; // null: fit
    this.picture = null;
    this.detections = [];
    frame.addEventListener("keydown", (event) => this.#key(event));
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("dblclick", (event) => this.#double(event));
    frame.addEventListener("pointerdown", (event) => this.#pan(event));
    frame.addEventListener("pointerover", (event) => {
      const number = event.target.closest?.("[data-number]")?.dataset.number;
      onPoint(number === undefined ? null : Number(number));
    });
    frame.addEventListener("pointerleave", () => onPoint(null));
    new ResizeObserver(() => this.layOut()).observe(frame);
  }

  /** Shows a picture of a known size, fitted. */
  show({ src, width, height, name }) {
    if (this.picture?.src === src) return;
    this.picture = { src, width, height };
    this.zoom = null;
    this.image = h("img", { src, alt: name, draggable: "false" });
    this.image.addEventListener("error", () => {
      this.image.replaceWith(h("p", { class: "stage-none" },
        "The picture is no longer kept. What was found stays in the log."));
    });
    this.overlay = svg("svg", { class: "boxes", "aria-hidden": "true" });
    this.canvas = h("div", { class: "canvas" }, this.image, this.overlay);
    this.frame.replaceChildren(this.canvas);
    this.layOut();
  }

  /** Shows words instead of a picture. */
  tell(...content) {
    this.picture = null;
    this.frame.replaceChildren(...content);
    this.onZoom("Fit");
  }

  boxes(detections) {
    this.detections = detections;
    this.#draw();
  }

  highlight(number, reveal = false) {
    if (!this.picture) return;
    highlight(this.overlay, number);
    const found = this.detections.find((one) => one.number === number);
    if (!reveal || !found || this.zoom === null) return;
    const [x, y, width, height] = found.bbox;
    this.frame.scrollTo({
      left: (x + width / 2) * this.scale - this.frame.clientWidth / 2,
      top: (y + height / 2) * this.scale - this.frame.clientHeight / 2,
    });
  }

  get fitScale() {
    const { width, height } = this.picture;
    const room = [this.frame.clientWidth / width, this.frame.clientHeight / height];
    return Math.min(...room, 4);
  }

  get scale() {
    return this.zoom ?? this.fitScale;
  }

  layOut() {
    if (!this.picture || this.frame.clientWidth === 0) return;
    const { width, height } = this.picture;
    this.canvas.style.width = `${width * this.scale}px`;
    this.canvas.style.height = `${height * this.scale}px`;
    this.image.classList.toggle("is-large", this.scale > 2);
    this.frame.classList.toggle("can-pan", this.zoom !== null && this.zoom > this.fitScale);
    this.#draw();
    this.onZoom(this.zoom === null ? "Fit" : `${Math.round(this.zoom * 100)} %`);
  }

  #draw() {
    if (!this.picture) return;
    draw(this.overlay, { ...this.picture, scale: this.scale, detections: this.detections });
  }

  /** Zooms to `zoom` (null: fit) and keeps the point under (x, y) of the frame where it is. */
  zoomTo(zoom, x = this.frame.clientWidth / 2, y = this.frame.clientHeight / 2) {
    if (!this.picture) return;
    const before = this.scale;
    const left = (this.frame.scrollLeft + x) / before;
    const top = (this.frame.scrollTop + y) / before;
    this.zoom = zoom;
    this.layOut();
    this.frame.scrollTo(left * this.scale - x, top * this.scale - y);
  }

  larger(x, y) {
    this.zoomTo(STEPS.find((step) => step > this.scale * 1.01) ?? STEPS.at(-1), x, y);
  }

  smaller(x, y) {
    const step = STEPS.findLast((one) => one < this.scale * 0.99) ?? STEPS[0];
    this.zoomTo(step <= this.fitScale ? null : step, x, y);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") this.larger();
    else if (event.key === "-") this.smaller();
    else if (event.key === "0") this.zoomTo(null);
    else return;
    event.preventDefault();
  }

  #wheel(event) {
    if (!event.ctrlKey || !this.picture) return;
    event.preventDefault();
    const { left, top } = this.frame.getBoundingClientRect();
    const point = [event.clientX - left, event.clientY - top];
    if (event.deltaY < 0) this.larger(...point);
    else this.smaller(...point);
  }

  #double(event) {
    if (!this.picture) return;
    const { left, top } = this.frame.getBoundingClientRect();
    if (this.zoom === null) this.zoomTo(Math.max(1, this.fitScale * 2.5), event.clientX - left, event.clientY - top);
    else this.zoomTo(null);
  }

  // Touch scrolls by itself; the mouse drags.
  #pan(event) {
    if (event.pointerType !== "mouse" || event.button !== 0) return;
    if (!this.frame.classList.contains("can-pan")) return;
    event.preventDefault();
    this.frame.focus({ preventScroll: true });
    const { scrollLeft, scrollTop } = this.frame;
    const move = (now) => {
      this.frame.scrollTo(scrollLeft - (now.clientX - event.clientX), scrollTop - (now.clientY - event.clientY));
    };
    const stop = () => {
      removeEventListener("pointermove", move);
      this.frame.classList.remove("is-panning");
    };
    this.frame.classList.add("is-panning");
    addEventListener("pointermove", move);
    addEventListener("pointerup", stop, { once: true });
  }
}
