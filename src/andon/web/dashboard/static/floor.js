// Floor and Drivers: charts, filters that need no button, and numbers that stay current.

import "./charts.js";
import { $ } from "./dom.js";
import { keepFresh } from "./live.js";

const form = $("filters");

// A choice shows at once; the times of an own period wait for the button.
form?.addEventListener("change", (event) => {
  if (event.target.matches("select")) form.requestSubmit();
});

// An address without empty parameters is one that people can read.
form?.addEventListener("formdata", (event) => {
  const own = event.formData.get("from") || event.formData.get("to");
  for (const [name, value] of [...event.formData]) {
    if (!value || (own && name === "period")) event.formData.delete(name);
  }
});

// With the first event the whole page is another one: filters appear.
const empty = document.querySelector("[data-empty]");
document.addEventListener("andon:refreshed", () => {
  if (empty && !("empty" in empty.dataset)) location.reload();
});

keepFresh(empty ? 3 : 10);
