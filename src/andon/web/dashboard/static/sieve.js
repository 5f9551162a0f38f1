// The filter over a list is an address, so that it can be shared.

document.addEventListener("change", (event) => {
  const form = event.target.closest("#sieve");
  if (!form) return;
  const chosen = [...new FormData(form)].filter(([, value]) => value);
  const query = new URLSearchParams(chosen).toString();
  location.assign(query ? `${form.getAttribute("action")}?${query}` : form.getAttribute("action"));
});
