// What every page does: theme button, relative times.

import { $, say } from "./dom.js";
import { tick } from "./words.js";

const THEMES = ["auto", "light", "dark"];

function currentTheme() {
  return document.documentElement.dataset.theme ?? "auto";
}

function showTheme() {
  $("theme").querySelector(".theme-word").textContent = `Theme: ${currentTheme()}`;
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length];
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("andon-theme", theme);
  } catch {
    say("This browser does not let Andon remember the theme.");
  }
  showTheme();
}

$("theme").addEventListener("click", nextTheme);
showTheme();

tick();
setInterval(tick, 10_000);
