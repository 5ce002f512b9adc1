// Shows that something is under way: the page that was asked for takes its time. CSS draws it, after a moment.

/** Marks the page while the next one is loading. */
export function showBusy(): void {
  document.addEventListener("submit", (event) => {
    if (!event.defaultPrevented) begin();
  });
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link && !event.defaultPrevented && leaves(event, link)) begin();
  });
  addEventListener("pageshow", end);
}

/** Whether a click on a link leads to another page in this window. */
function leaves(event: MouseEvent, link: HTMLAnchorElement): boolean {
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  const elsewhere = link.target !== "" || link.hasAttribute("download") || link.origin !== location.origin;
  const here = link.hash !== "" && link.pathname === location.pathname && link.search === location.search;
  return plain && !elsewhere && !here;
}

function begin(): void {
  document.getElementById("main")?.setAttribute("aria-busy", "true");
}

function end(): void {
  document.getElementById("main")?.removeAttribute("aria-busy");
}
