// Pictures of this visit: sent one after the other, each with its own state.

import { call, Problem, upload } from "./http.js";
import { size } from "./words.js";

const AT_A_TIME = 2;
const PATIENCE = 4;
const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

let counter = 0;

/** One picture: state is waiting, sending, checking, done or failed. */
function pictureFrom(file) {
  counter += 1;
  return {
    key: `p${counter}`, file, name: file.name || "picture.png", src: URL.createObjectURL(file),
    state: "waiting", progress: 0, answer: null, error: "",
  };
}

/** Reads the answer of /api/predict or /api/predictions/{id} into what the page shows. */
export function answerFrom(body) {
  return {
    id: body.prediction_id ?? body.id,
    name: body.image_name ?? "picture",
    model: body.model,
    version: body.model_version,
    when: new Date(body.timestamp),
    width: body.image_width,
    height: body.image_height,
    detections: [...(body.detections ?? [])].sort((a, b) => b.confidence - a.confidence),
    classes: Object.entries(body.classes ?? {}).sort((a, b) => b[1] - a[1]),
    anomaly: body.anomaly ?? null,
    latency: body.latency_ms ?? null,
    inference: body.inference_time === undefined ? null : body.inference_time * 1000,
    cached: Boolean(body.cached),
    annotated: body.image_url ?? "",
    threshold: body.threshold ?? null,
    floor: body.threshold ?? 0, // below this, nothing is known yet; see addFainter
    status: body.status ?? "success",
    error: body.error ?? "",
    camera: body.camera ?? "",
    cameraState: body.camera_state ?? "",
  };
}

/** Adds what the model saw below the logged threshold, where that can still be told. */
export async function addFainter(answer) {
  try {
    const { floor, detections, reason } =
      await call("GET", `/inspect/fainter/${encodeURIComponent(answer.id)}`);
    if (detections) {
      answer.detections = detections;
      answer.floor = floor;
    } else {
      answer.limited = reason;
    }
  } catch (problem) {
    answer.limited = problem.message;
  }
}

export class Pictures {
  /** `changed(picture)` is called whenever one of them changes. */
  constructor({ model, maxBytes, changed }) {
    Object.assign(this, { model, maxBytes, changed });
    this.all = [];
    this.running = 0;
  }

  add(files) {
    const added = [...files].map(pictureFrom);
    this.all.push(...added);
    for (const picture of added) {
      if (picture.file.size > this.maxBytes) {
        this.#fail(picture, `The file is ${size(picture.file.size)}; at most ${size(this.maxBytes)} are taken. Save it smaller and try again.`);
      } else if (picture.file.size === 0) this.#fail(picture, "The file is empty. Pick another one.");
      else this.changed(picture);
    }
    this.#next();
    return added;
  }

  #fail(picture, why) {
    picture.state = "failed";
    picture.error = why;
    this.changed(picture);
  }

  #next() {
    while (this.running < AT_A_TIME) {
      const picture = this.all.find((one) => one.state === "waiting");
      if (!picture) return;
      this.running += 1;
      picture.state = "sending";
      this.#send(picture).finally(() => {
        this.running -= 1;
        this.#next();
      });
    }
  }

  async #send(picture, attempt = 1) {
    // No threshold: what is logged is what the line would have said. The slider's fainter finds
    // are asked for separately and leave no trace.
    const form = new FormData();
    form.append("model", this.model);
    form.append("image", picture.file, picture.name);
    try {
      const body = await upload("/api/predict", form, (part) => {
        picture.progress = part;
        picture.state = part < 1 ? "sending" : "checking";
        this.changed(picture);
      });
      picture.answer = answerFrom(body);
      await addFainter(picture.answer);
      picture.state = "done";
      this.changed(picture);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.status === 503 && problem.retryAfter && attempt < PATIENCE) {
        picture.progress = 0;
        this.changed(picture);
        await wait(problem.retryAfter);
        return this.#send(picture, attempt + 1);
      }
      this.#fail(picture, problem.message);
    }
  }
}
