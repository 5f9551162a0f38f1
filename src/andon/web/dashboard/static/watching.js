// Performance and Trends: charts, a chooser that needs no button, and numbers that stay current.

import "./charts.js";
import { keepFresh } from "./live.js";

document.addEventListener("change", (event) => {
  event.target.closest("form[data-auto]")?.requestSubmit();
});

keepFresh(15);
