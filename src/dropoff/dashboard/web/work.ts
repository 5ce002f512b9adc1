// Has worked out what takes long, once the page stands, where the page says that it takes seconds only: `data-work` is the
// address that does it. Without scripts, and where it fails, the link in that place stays.
import { fetched, show } from "./live";

let asked = "";

/** Also after the page was shown anew: what was worked out may be too old by then. */
export function workOut(): void {
  begin();
  document.addEventListener("dropoff:shown", begin);
}

function begin(): void {
  const place = document.querySelector<HTMLElement>("[data-work]");
  if (!place) return;
  const address = place.dataset.work ?? "";
  const link = [...place.childNodes];
  place.setAttribute("role", "status");
  place.className = "under-way";
  place.replaceChildren(place.dataset.said ?? "");
  if (asked === address) return; // it is under way
  asked = address;
  void fetched(address)
    .catch(() => null)
    .then((page) => {
      asked = "";
      const main = document.getElementById("main");
      if (main && page && !page.querySelector("[data-work]")) return show(main, page);
      const now = document.querySelector<HTMLElement>("[data-work]");
      for (const name of ["data-work", "role", "class"]) now?.removeAttribute(name);
      now?.replaceChildren(...link);
    });
}
