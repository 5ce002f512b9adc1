// Shows to keyboards and fingers what a pointer is shown by `title`: definitions of metrics and of marked words.

/** One box, at whatever has the focus or was touched. */
export function showTips(): void {
  const box = document.createElement("div");
  box.className = "tip";
  box.hidden = true;
  box.setAttribute("aria-hidden", "true"); // the title is read out already
  document.body.append(box);

  const hide = (): void => {
    box.hidden = true;
  };
  const show = (owner: HTMLElement): void => {
    box.textContent = owner.title;
    box.hidden = false;
    place(box, owner.getBoundingClientRect());
  };

  document.addEventListener("focusin", (event) => {
    const owner = event.target;
    if (owner instanceof HTMLElement && owner.matches("a.term:focus-visible")) show(owner);
    else hide();
  });
  document.addEventListener("pointerup", (event) => {
    const owner = event.target instanceof Element ? event.target.closest<HTMLElement>("abbr[title]") : null;
    if (owner && event.pointerType !== "mouse") show(owner);
    else hide();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
  document.addEventListener("focusout", hide);
  addEventListener("scroll", hide, { passive: true, capture: true });
}

/** Below its owner, or above it where there is no room; never beyond the window. */
function place(box: HTMLElement, owner: DOMRect): void {
  const room = document.documentElement;
  const left = Math.min(owner.left, room.clientWidth - box.offsetWidth - 8);
  const below = owner.bottom + 6;
  const top = below + box.offsetHeight < room.clientHeight ? below : owner.top - box.offsetHeight - 6;
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${Math.max(8, top)}px`;
}
