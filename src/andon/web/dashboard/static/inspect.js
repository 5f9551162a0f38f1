// The Inspect page: pictures in, boxes over them, a threshold to play with, the past below.

import { $, h, say } from "./dom.js";
import { call } from "./http.js";
import { refresh } from "./live.js";
import { inkOf } from "./overlay.js";
import { addFainter, answerFrom, Pictures } from "./pictures.js";
import { markRow, showResult } from "./result.js";
import { Stage } from "./stage.js";
import { plural, score, unjudged } from "./words.js";

const bench = $("bench");
const floor = Number(bench.dataset.floor);
const line = Number(bench.dataset.line);
const labels = bench.dataset.labels ? bench.dataset.labels.split("\n") : [];
const slider = $("threshold");

let current = null; // the picture or past inspection that is shown
let threshold = line;
let chosen = false; // whether a person has moved the slider; then their choice stays

const stage = new Stage($("stage"), {
  onPoint: (number) => point(number),
  onZoom: (words) => { $("zoom-value").textContent = words; },
});
const pictures = new Pictures({
  model: document.body.dataset.model, maxBytes: Number(bench.dataset.maxBytes), changed: pictureChanged,
});

// -- What is shown ----------------------------------------------------------------------

function point(number, reveal = false) {
  stage.highlight(number, reveal);
  markRow($("result"), number);
}

/** Draws the current answer at the current threshold. */
function paint() {
  if (current?.state !== "done") return;
  const { answer } = current;
  const numbered = answer.detections.map((one, index) => ({
    ...one, number: index + 1, ink: inkOf(one.label, labels),
  }));
  const shown = numbered.filter((one) => one.confidence >= threshold);
  stage.boxes(shown);
  showResult($("result"), { answer, shown, threshold, line, on: point });
  tellVerdict();
}

let verdictTimer = 0;

/** Reads the verdict out once the slider rests, not at every step of it. */
function tellVerdict() {
  clearTimeout(verdictTimer);
  verdictTimer = setTimeout(() => {
    $("said").textContent = `${current.name}: ${$("result").querySelector(".verdict").textContent}`;
  }, 500);
}

function show(picture) {
  current = picture;
  $("stage-box").hidden = false;
  $("toolbar").hidden = picture.state !== "done";
  $("drop")?.classList.add("drop-small");
  for (const button of $("film").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.key === picture.key));
  }
  markShot();
  if (picture.state === "done") {
    const { width, height, name } = picture.answer;
    stage.show({ src: picture.src, width, height, name });
    setThreshold(chosen ? threshold : picture.answer.threshold ?? line);
    return;
  }
  $("result").hidden = true;
  const failed = picture.state === "failed";
  stage.tell(h("div", { class: failed ? "stage-wait is-failed" : "stage-wait" },
    failed ? null : preview(picture),
    h("p", {}, h("strong", {}, picture.name)),
    h("p", {}, failed ? picture.error : words(picture)),
    failed ? null : h("progress", picture.state === "sending" ? { max: 1, value: picture.progress } : {})));
}

/** The picture itself while its answer is on the way; nothing where it is none. */
function preview(picture) {
  return h("img", { class: "preview", src: picture.src, alt: "", error: (event) => event.target.remove() });
}

/** Marks the shown inspection in the gallery. */
function markShot() {
  for (const link of document.querySelectorAll(".shot a")) {
    if (link.dataset.id === current?.answer?.id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

document.addEventListener("andon:refreshed", markShot);

// -- Pictures of this visit -------------------------------------------------------------

function words(picture) {
  if (picture.state === "waiting") return "waiting";
  if (picture.state === "sending") return `uploading ${Math.round(picture.progress * 100)} %`;
  if (picture.state === "checking") return "inspecting";
  if (picture.state === "failed") return picture.error;
  const count = picture.answer.detections.filter((one) => one.confidence >= line).length;
  if (!count && unjudged(picture.answer.cameraState)) return "not judged";
  return count ? plural(count, "defect") : "nothing found";
}

function filmEntry(picture) {
  return h("li", { "data-key": picture.key }, h("button", {
    type: "button", "data-key": picture.key, title: picture.name,
    class: picture.state === "failed" ? "is-failed" : "",
    "aria-pressed": String(current === picture), click: () => choose(picture),
  },
  h("span", { class: "film-name" }, picture.name),
  h("span", { class: "film-state" }, words(picture)),
  picture.state === "sending" ? h("progress", { max: 1, value: picture.progress, "aria-hidden": "true" }) : null));
}

function choose(picture) {
  show(picture);
  if (picture.answer) remember(picture.answer.id);
}

let galleryTimer = 0;

function pictureChanged(picture) {
  const film = $("film");
  film.hidden = false;
  const old = film.querySelector(`li[data-key="${picture.key}"]`);
  const focused = old?.contains(document.activeElement);
  const entry = filmEntry(picture);
  if (old) old.replaceWith(entry);
  else film.append(entry);
  if (focused) entry.firstChild.focus();
  if (picture === current) {
    show(picture);
    if (picture.answer) remember(picture.answer.id);
  }
  if (picture.state === "done") {
    clearTimeout(galleryTimer);
    galleryTimer = setTimeout(() => refresh(galleryAddress()), 300);
  }
}

function take(files) {
  const list = [...files];
  if (!list.length) return;
  if (!$("drop")) {
    say("No model serves. Deploy one first.");
    return;
  }
  const [first] = pictures.add(list);
  show(first);
  bench.scrollIntoView({ block: "nearest" });
}

// -- Past inspections -------------------------------------------------------------------

/** Puts the inspection into the address, so that it can be shared and found again. */
function remember(id) {
  const address = new URL(location.href);
  if (address.searchParams.get("id") === id) return;
  address.searchParams.set("id", id);
  history.pushState({}, "", address);
}

/** The page's address without the inspection: what the gallery depends on. */
function galleryAddress() {
  const address = new URL(location.href);
  address.searchParams.delete("id");
  return address.href;
}

async function open(id) {
  const visited = pictures.all.find((one) => one.answer?.id === id);
  if (visited) {
    show(visited);
    return;
  }
  try {
    const answer = answerFrom(await call("GET", `/api/predictions/${encodeURIComponent(id)}`));
    if (answer.status !== "success") {
      show({ key: id, name: answer.name, state: "failed", error: answer.error, answer });
    } else {
      await addFainter(answer);
      show({ key: id, name: answer.name, state: "done", answer, src: `/api/predictions/${encodeURIComponent(id)}/image` });
    }
    $("missing")?.remove();
  } catch (problem) {
    say(problem.message);
  }
}

async function openGallery(address) {
  $("gallery-items").setAttribute("aria-busy", "true");
  const id = new URL(location.href).searchParams.get("id");
  const next = new URL(address, location.href);
  if (id) next.searchParams.set("id", id);
  history.pushState({}, "", next);
  await refresh(galleryAddress());
  $("gallery-items").removeAttribute("aria-busy");
}

$("gallery").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  const shot = event.target.closest(".shot a");
  const page = event.target.closest(".pager a");
  if (!shot && !page) return;
  event.preventDefault();
  if (page) {
    openGallery(page.href).then(() => $("gallery").scrollIntoView());
    return;
  }
  open(shot.dataset.id).then(() => bench.scrollIntoView());
  remember(shot.dataset.id);
});

$("filter").hidden = true;
$("filters").addEventListener("change", () => {
  const query = new URLSearchParams(new FormData($("filters")));
  openGallery(`/inspect?${query}#gallery`);
});

addEventListener("popstate", () => {
  const id = new URL(location.href).searchParams.get("id");
  if (id) open(id);
  refresh(galleryAddress());
});

// -- Getting pictures in ----------------------------------------------------------------

const drop = $("drop");
if (drop) {
  for (const id of ["pick", "camera"]) {
    $(id).addEventListener("change", (event) => {
      take(event.target.files);
      event.target.value = ""; // the same file may be picked again
    });
  }
  $("sample")?.addEventListener("click", async () => {
    const button = $("sample");
    button.disabled = true;
    try {
      const answer = await fetch(`/inspect/sample?seed=${Math.floor(Math.random() * 1e6)}`);
      if (!answer.ok) throw new Error();
      const name = answer.headers.get("X-Name") ?? "sample-board.png";
      take([new File([await answer.blob()], name, { type: "image/png" })]);
    } catch {
      say("The sample board could not be drawn. Pick a picture of your own.");
    } finally {
      button.disabled = false;
    }
  });
}

const isPicture = (file) => file.type.startsWith("image/") || /\.(jpe?g|png|bmp)$/i.test(file.name);

addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  drop?.classList.add("is-over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop?.classList.remove("is-over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  drop?.classList.remove("is-over");
  // What is no picture is sent as well: the server's refusal names the file and says why.
  take(event.dataTransfer.files);
});
addEventListener("paste", (event) => take([...event.clipboardData.files].filter(isPicture)));

// -- Threshold and zoom -----------------------------------------------------------------

function setThreshold(value) {
  threshold = value;
  slider.value = String(value);
  $("threshold-value").textContent = score(value);
  $("to-line").classList.toggle("is-off", Math.abs(value - line) > 0.001);
  paint();
}

function chooseThreshold(value) {
  chosen = true;
  setThreshold(value);
}

slider.addEventListener("input", () => chooseThreshold(Number(slider.value)));
$("to-line").addEventListener("click", () => chooseThreshold(line));
$("line-value").textContent = score(line);
// The thumb's centre runs from half a thumb to the width less half a thumb (16 px in all).
const share = (line - floor) / (1 - floor);
$("line-mark").style.left = `calc(${share * 100}% + ${8 - share * 16}px)`;

$("zoom-in").addEventListener("click", () => stage.larger());
$("zoom-out").addEventListener("click", () => stage.smaller());
$("zoom-fit").addEventListener("click", () => stage.zoomTo(null));

setThreshold(line);
if (bench.dataset.shown) open(bench.dataset.shown);
