// What is drawn on a page as a picture that can stand alone, under the title of the page, its period and filters.

/** Pixels of a picture for each of the page. */
export const SCALE = 2;

/** A button beside what else can be saved of a chart. `id` says which chart it is. */
export function offerPicture(chart: HTMLElement | null, id: string, draw: () => HTMLCanvasElement): void {
  const place = chart?.querySelector(".saves");
  if (!chart || !place) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = "PNG";
  button.setAttribute("aria-label", "Save the chart as PNG");
  button.addEventListener("click", () => save(framed(draw(), chart), id));
  place.append(button);
}

/** The drawn on its ground, under its title. */
function framed(drawn: HTMLCanvasElement, chart: HTMLElement): HTMLCanvasElement {
  const style = getComputedStyle(chart);
  const canvas = document.createElement("canvas");
  const [edge, head] = [16 * SCALE, 48 * SCALE];
  canvas.width = drawn.width + 2 * edge;
  canvas.height = drawn.height + head + edge;
  const context = canvas.getContext("2d");
  if (!context) return canvas;
  context.fillStyle = style.getPropertyValue("--page").trim();
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = style.getPropertyValue("--text").trim();
  context.font = `${13 * SCALE}px ${style.getPropertyValue("--font")}`;
  context.textBaseline = "middle";
  context.fillText(titleOf(chart), edge, head / 2, canvas.width - 2 * edge);
  context.drawImage(drawn, edge, head);
  return canvas;
}

function titleOf(chart: HTMLElement): string {
  const title = document.querySelector("h1")?.textContent ?? "";
  const section = chart.closest("section")?.querySelector("h2")?.textContent;
  const period = document.querySelector(".facts-line span")?.textContent;
  const filters = [...document.querySelectorAll(".chips a")].map((chip) => chip.firstChild?.textContent?.trim());
  return [title, section, period, ...filters].filter(Boolean).join(" · ");
}

/** As a file whose name says what is shown, which chart and which period. */
function save(picture: HTMLCanvasElement, id: string): void {
  picture.toBlob((blob) => {
    if (!blob) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${document.getElementById("main")?.dataset.file ?? "dropoff"}_${id}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}
