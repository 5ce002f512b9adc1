// Keeps a page of the present fresh: asks whether there is more, and then shows the page anew without a jump: what was
// opened, typed, focused or scrolled stays.

const EVERY = 15_000;
const SHARE = 20; // a page that takes long is asked for seldom: at most this part of the time is spent on it

/** Begins where the page says that it can change (`data-version` of its main part). */
export function keepFresh(): void {
  const main = document.getElementById("main");
  const note = main?.querySelector<HTMLElement>("[data-live]");
  if (!main?.dataset.version || !note) return;
  let paused = false;
  let looking = false;
  let pause = EVERY;

  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  const said = document.createElement("span");

  const tell = (): void => {
    button.textContent = paused ? "Resume" : "Pause";
    button.setAttribute("aria-label", paused ? "Resume updates" : "Pause updates");
    const shown = document.querySelector<HTMLElement>("[data-live]"); // holds the time, on the clock of the numbers
    const at = shown?.dataset.live ?? "";
    said.textContent = at ? `${paused ? "Paused" : "Updated"} ${at}` : paused ? "Paused" : "Renews itself";
    if (!button.isConnected) shown?.replaceChildren(said, button);
  };

  const renew = async (): Promise<void> => {
    const began = performance.now();
    const version = await newest();
    if (version === null || version === main.dataset.version) return;
    const page = await fetched(location.href);
    if (!page || paused) return;
    const held = document.activeElement === button;
    show(main, page);
    if (held) button.focus({ preventScroll: true });
    pause = Math.max(EVERY, (performance.now() - began) * SHARE);
  };

  const look = async (): Promise<void> => {
    if (paused || looking || document.hidden || main.hasAttribute("aria-busy")) return;
    looking = true;
    // A server that is away is no fault of the page: it is asked again.
    await renew().catch(() => undefined);
    looking = false;
  };

  const again = (): void => {
    setTimeout(() => void look().finally(again), pause);
  };

  button.addEventListener("click", () => {
    paused = !paused;
    tell();
  });
  document.addEventListener("visibilitychange", () => void look());
  document.addEventListener("dropoff:shown", tell);
  tell();
  again();
}

async function newest(): Promise<string | null> {
  const answer = await fetch("/api/v1/version");
  return answer.ok ? ((await answer.json()) as { version: string }).version : null;
}

/** The main part of a page of this server. */
export async function fetched(address: string): Promise<HTMLElement | null> {
  const answer = await fetch(address);
  if (!answer.ok || new URL(answer.url).pathname !== location.pathname) return null; // another page: of a login
  return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
}

/** Puts the content of `page` into `main`; a form that somebody has touched stays as it is. */
export function show(main: HTMLElement, page: HTMLElement): void {
  const opened = new Map(details(main).map(([key, one]) => [key, one.open]));
  const scrolled = new Map(boxes(main).map(([key, one]) => [key, one.scrollLeft]));
  const focused = focusKey(main);
  const [x, y] = [scrollX, scrollY];
  const touched = new Map(forms(main).filter(([, form]) => isTouched(form)));
  const fresh = document.importNode(page, true);
  forms(fresh).forEach(([key, form]) => {
    const old = touched.get(key);
    if (old) form.replaceWith(old);
  });
  main.replaceChildren(...fresh.childNodes);
  main.dataset.version = page.dataset.version ?? "";
  details(main).forEach(([key, one]) => (one.open = opened.get(key) ?? one.open));
  boxes(main).forEach(([key, one]) => (one.scrollLeft = scrolled.get(key) ?? 0));
  document.dispatchEvent(new Event("dropoff:shown"));
  find(main, focused)?.focus({ preventScroll: true });
  scrollTo({ left: x, top: y, behavior: "instant" });
}

/** Whether something in a form differs from what the page gave, or has the focus. */
function isTouched(form: HTMLFormElement): boolean {
  if (form.contains(document.activeElement)) return true;
  return [...form.elements].some((field) => {
    if (field instanceof HTMLSelectElement) return field.value !== first(field);
    return field instanceof HTMLInputElement && (field.value !== field.defaultValue || field.checked !== field.defaultChecked);
  });
}

/** What a choice shows before anybody has touched it. */
function first(field: HTMLSelectElement): string {
  return [...field.options].find((one) => one.defaultSelected)?.value ?? field.options[0]?.value ?? "";
}

type Keyed<T> = [string, T][];

/** Each with a key that the same one has on the page to come: its text, and which of its kind it is. */
function keyed<T extends HTMLElement>(all: Iterable<T>, name: (one: T) => string): Keyed<T> {
  const seen = new Map<string, number>();
  return [...all].map((one) => {
    const text = name(one);
    seen.set(text, (seen.get(text) ?? 0) + 1);
    return [`${text}#${seen.get(text)}`, one];
  });
}

// A form is known by what it is about: others may come to stand before it.
const forms = (main: HTMLElement): Keyed<HTMLFormElement> =>
  keyed(main.querySelectorAll("form"), (one) => `${one.getAttribute("action")}|${one.getAttribute("aria-label")}|${about(one)}`);
const about = (form: HTMLFormElement): string =>
  [...form.querySelectorAll<HTMLInputElement>("input[type=hidden]")].map((one) => `${one.name}=${one.value}`).join("&");
const details = (main: HTMLElement): Keyed<HTMLDetailsElement> =>
  keyed(main.querySelectorAll("details"), (one) => (one.querySelector("summary")?.textContent ?? "").replace(/[\d,.]+/g, ""));
const boxes = (main: HTMLElement): Keyed<HTMLElement> =>
  keyed(main.querySelectorAll<HTMLElement>(".table"), (one) => one.getAttribute("aria-labelledby") ?? one.getAttribute("aria-label") ?? "");
const stops = (main: HTMLElement): Keyed<HTMLElement> =>
  keyed(main.querySelectorAll<HTMLElement>("a[href], button, input, select, summary, [tabindex]"), (one) =>
    [one.tagName, one.getAttribute("name"), one.getAttribute("href"), one.className, one.getAttribute("aria-labelledby")].join("|"));

function focusKey(main: HTMLElement): string | null {
  const held = document.activeElement;
  return stops(main).find(([, one]) => one === held)?.[0] ?? null;
}

function find(main: HTMLElement, key: string | null): HTMLElement | null {
  if (key === null || main.contains(document.activeElement)) return null;
  return stops(main).find(([name]) => name === key)?.[1] ?? null;
}
