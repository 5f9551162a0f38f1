// Runs before the first paint, so that a remembered theme does not flash the other one.
// The rest of the page's script is in shell.js.
(() => {
  let theme = "";
  try {
    theme = localStorage.getItem("andon-theme") || "";
  } catch {
    // Storage may be forbidden; then the system's theme it is.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  document.documentElement.classList.add("js");
})();
