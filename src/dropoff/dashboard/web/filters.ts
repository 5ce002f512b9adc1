// The filter bar of a page.

/** A page that comes back from the browser's memory keeps what was typed into its filters before it was left: set them
 *  back to what the address says. */
export function followAddress(): void {
  addEventListener("pageshow", (event) => {
    if (event.persisted) document.querySelectorAll<HTMLFormElement>("form.filters").forEach((form) => form.reset());
  });
}

/** Offers the values of a dimension once it is picked: the most frequent ones of the period that is shown. */
export function offerValues(): void {
  document.addEventListener("change", (event) => {
    const picked = event.target;
    // Without an answer of the server nothing is offered.
    if (picked instanceof HTMLSelectElement && picked.name === "dimension") void offer(picked).catch(() => undefined);
  });
}

async function offer(picked: HTMLSelectElement): Promise<void> {
  const list = document.getElementById("values");
  const dimension = picked.value;
  if (!list) return;
  list.replaceChildren();
  if (!dimension || dimension.endsWith(":")) return;
  const query = new URLSearchParams({ metric: "conversations_started", by: dimension });
  const shown = new URLSearchParams(location.search);
  for (const name of ["from", "to", "timezone"]) if (shown.get(name)) query.set(name, shown.get(name) ?? "");
  const answer = await fetch(`/api/v1/metrics?${query}`);
  if (!answer.ok) return;
  const rows = ((await answer.json()) as { metrics: { segment: string }[] }).metrics;
  if (picked.value !== dimension) return; // another one was picked in the meantime
  list.replaceChildren(...rows.filter((row) => row.segment !== "(rest)").map((row) => new Option("", row.segment)));
}
