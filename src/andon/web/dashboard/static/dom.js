// Small helpers for building and updating the page.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: h("p", { class: "meta" }, "text", child). Functions become listeners. */
export function h(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** The same for SVG. */
export function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const $ = (id) => document.getElementById(id);

/** Says something in passing: shown for a few seconds and read out. */
export function say(text) {
  const toast = h("p", { class: "toast" }, text);
  $("toasts").append(toast);
  setTimeout(() => toast.remove(), 6000);
}

const keyOf = (node) => node.dataset?.key;

/**
 * Makes `old` look like `fresh` while touching only what differs, so that nothing flickers and
 * focus, scroll position and open details stay. Elements with data-keep are left alone.
 */
export function morph(old, fresh) {
  if (old.nodeName !== fresh.nodeName) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if ("keep" in old.dataset) return;
  if (old.nodeName === "IMG" && old.getAttribute("src") === fresh.getAttribute("src")) return;
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    const kept = name === "open" && old.nodeName === "DETAILS";
    if (!fresh.hasAttribute(name) && !kept) old.removeAttribute(name);
  }
  morphChildren(old, fresh);
}

function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = old.firstChild;
  for (const want of [...fresh.childNodes]) {
    const key = keyOf(want);
    const have = key ? keyed.get(key) : at;
    const same = have && (key || (!keyOf(have) && have.nodeName === want.nodeName));
    if (!same) {
      old.insertBefore(document.importNode(want, true), at);
      continue;
    }
    if (have === at) at = at.nextSibling;
    else old.insertBefore(have, at);
    morph(have, want);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
