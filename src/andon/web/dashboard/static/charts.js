// Draws what charts.py described. Each figure with data-chart carries its specification as text;
// the colours in it are names of custom properties, so that a chart wears the page's theme.
// The drawing library is fetched when a page has a chart, and only then.

import { h } from "./dom.js";

const figures = () => document.querySelectorAll("[data-chart]");
const drawn = new WeakMap();
let library = null;

function embedder() {
  library ??= import("./vega.js").then(() => window.vegaEmbed);
  return library;
}

/** From the name of a custom property to the colour it has now. */
function palette() {
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  const known = new Map();
  const look = (name) => {
    if (!known.has(name)) {
      probe.style.color = `var(${name})`;
      known.set(name, getComputedStyle(probe).color);
    }
    return known.get(name);
  };
  return { look, done: () => probe.remove() };
}

// Names from outside stand in these; none of them is a colour.
const DATA = new Set(["data", "domain"]);

/** The specification with colours for their names; the data are left alone. */
function painted(part, look) {
  if (Array.isArray(part)) return part.map((one) => painted(one, look));
  if (part && typeof part === "object") {
    const entries = Object.entries(part);
    return Object.fromEntries(
      entries.map(([key, value]) => [key, DATA.has(key) ? value : painted(value, look)]),
    );
  }
  return typeof part === "string" && part.startsWith("--") ? look(part) : part;
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  return document.documentElement.dataset.theme ?? dark;
}

async function draw(figure) {
  const wanted = `${theme()} ${figure.dataset.chart}`;
  const before = drawn.get(figure);
  if (before?.wanted === wanted) return;
  const mine = { wanted, view: before?.view };
  drawn.set(figure, mine);
  const canvas = figure.querySelector(".chart-canvas");
  const stage = h("div", { class: "chart-stage" });
  try {
    const embed = await embedder();
    const colours = palette();
    const spec = painted(JSON.parse(figure.dataset.chart), colours.look);
    colours.done();
    // What was drawn before stays until the new one is there: nothing flickers.
    canvas.append(stage);
    const made = await embed(stage, spec, {
      actions: false,
      ast: true,
      defaultStyle: false,
      renderer: "canvas",
      tooltip: { disableDefaultStyle: true, id: "chart-tooltip" },
    });
    if (drawn.get(figure) !== mine) {
      made.finalize();
      stage.remove();
      return;
    }
    mine.view?.finalize();
    mine.view = made;
    canvas.replaceChildren(stage);
    canvas.classList.remove("is-undrawn");
  } catch (error) {
    stage.remove();
    canvas.classList.add("is-undrawn");
    const details = figure.querySelector("details");
    if (details) details.open = true;
    console.warn(`A chart could not be drawn: ${error}`);
  }
}

function drawAll() {
  for (const figure of figures()) draw(figure);
}

drawAll();
document.addEventListener("andon:refreshed", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
