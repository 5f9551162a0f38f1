// Times, sizes and verdicts in the same words as wording.py.

export function ago(when, now = Date.now()) {
  const seconds = (now - when.getTime()) / 1000;
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 10) * 10} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86400);
  if (days < 8) return days === 1 ? "1 day ago" : `${days} days ago`;
  return when.toLocaleDateString("en-GB", {
    day: "numeric", month: "short", year: "numeric", timeZone: "UTC",
  });
}

export function exact(when) {
  const day = when.toLocaleDateString("en-GB", {
    day: "numeric", month: "short", year: "numeric", timeZone: "UTC",
  });
  return `${day} ${when.toISOString().slice(11, 19)} UTC`;
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const short = (amount) => amount.toFixed(1).replace(/\.0$/, "");
  let amount = bytes / 1024;
  for (const unit of ["kB", "MB"]) {
    if (amount < 1024) return `${short(amount)} ${unit}`;
    amount /= 1024;
  }
  return `${short(amount)} GB`;
}

export function millis(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} ms`;
  return value < 10_000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(0)} s`;
}

export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

export const plural = (number, one) => `${number} ${one}${number === 1 ? "" : "s"}`;

// What a camera's state says of a picture, as in wording.py.
const SICK = {
  dark: "the picture is too dark",
  bright: "the picture is blown out",
  blurred: "the picture is blurred",
  frozen: "the camera keeps sending the same picture",
  size: "the picture has another size than usual",
};

/** "Not judged: the picture is too dark"; empty where the camera is well or not known. */
export const unjudged = (state) => (SICK[state] ? `Not judged: ${SICK[state]}` : "");

/** What a camera's state means for what was found; empty where it is well or not known. */
export function sick(state) {
  const words = SICK[state];
  return words ? `${words[0].toUpperCase()}${words.slice(1)}; what the model says of it cannot be relied on.` : "";
}

/** "2 defects: short 0.93, spur 0.71" for detections that already passed the threshold. */
export function verdict(kept, threshold) {
  if (kept.length === 0) return `Nothing found above ${score(threshold)}`;
  const named = kept.slice(0, 3).map((one) => `${one.label} ${score(one.confidence)}`).join(", ");
  const rest = kept.length > 3 ? ` and ${kept.length - 3} more` : "";
  return `${plural(kept.length, "defect")}: ${named}${rest}`;
}

/** Brings every <time data-relative> up to date. */
export function tick(root = document) {
  for (const element of root.querySelectorAll("time[data-relative]")) {
    const words = ago(new Date(element.dateTime));
    if (element.textContent !== words) element.textContent = words;
  }
}
