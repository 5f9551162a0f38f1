// A label with a file input that also takes dropped files.

/** Calls `chosen(file | null)` whenever the input's file changes, by picking or dropping. */
export function droppable(label, input, chosen) {
  input.addEventListener("change", () => chosen(input.files[0] ?? null));
  label.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    label.classList.add("is-over");
  });
  label.addEventListener("dragleave", () => label.classList.remove("is-over"));
  label.addEventListener("drop", (event) => {
    event.preventDefault();
    label.classList.remove("is-over");
    const one = new DataTransfer();
    if (event.dataTransfer.files[0]) one.items.add(event.dataTransfer.files[0]);
    input.files = one.files;
    chosen(input.files[0] ?? null);
  });
}
