// A page that comes back from the browser's memory keeps what was typed into its filters before it was left:
// set them back to what the address says.
addEventListener("pageshow", (event) => {
  if (event.persisted) document.querySelectorAll<HTMLFormElement>("form.filters").forEach((form) => form.reset());
});
