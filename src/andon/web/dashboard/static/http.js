// Talking to the API. Every failure becomes a Problem with a sentence a person can read.

export class Problem extends Error {
  /** `status` is 0 when the server could not be reached; `errors` are those of single fields. */
  constructor(status, detail, retryAfter = 0, errors = []) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
    this.errors = errors;
  }
}

const UNREACHABLE = "Andon cannot be reached. Check that it runs and try again.";

function problemFrom(status, body, retryAfter) {
  let detail = typeof body?.detail === "string" ? body.detail : "";
  for (const one of body?.errors ?? []) detail += ` ${one.field}: ${one.detail}.`;
  return new Problem(status, detail.trim() || `The server answered with status ${status}.`, retryAfter, body?.errors ?? []);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Sends JSON (or nothing) and answers with the parsed body. Throws Problem. `patience`: how many
 * milliseconds an answer may take; 0: as long as it takes.
 */
export async function call(method, path, body, patience = 0) {
  let answer;
  let text;
  try {
    answer = await fetch(path, {
      method,
      headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
      signal: patience ? AbortSignal.timeout(patience) : null,
    });
    text = await answer.text();
  } catch {
    throw new Problem(0, UNREACHABLE);
  }
  const content = parsed(text);
  if (!answer.ok) {
    throw problemFrom(answer.status, content, Number(answer.headers.get("Retry-After")) || 0);
  }
  return content;
}

/** Uploads a form; `onProgress` gets 0 to 1. fetch cannot report upload progress, XHR can. */
export function upload(path, form, onProgress = () => {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    request.upload.addEventListener("load", () => onProgress(1));
    request.addEventListener("load", () => {
      const body = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300) resolve(body);
      else {
        const wait = Number(request.getResponseHeader("Retry-After")) || 0;
        reject(problemFrom(request.status, body, wait));
      }
    });
    request.addEventListener("error", () => reject(new Problem(0, UNREACHABLE)));
    request.send(form);
  });
}
