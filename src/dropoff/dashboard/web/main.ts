// Draws every chart of a page. The options come complete from the server (dashboard/charts);
// here they get the theme's colours, the size of their box, and links.
import { BarChart, LineChart, SankeyChart, ScatterChart } from "echarts/charts";
import { AriaComponent, GridComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { init, use, type ECElementEvent, type ECharts, type EChartsCoreOption } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

// Canvas, not SVG: the SVG renderer writes style attributes, which the content security policy forbids.
use([
  BarChart, LineChart, SankeyChart, ScatterChart, GridComponent, MarkAreaComponent, MarkLineComponent,
  TooltipComponent, AriaComponent, CanvasRenderer,
]);

/** A copy of `value` in which every "var(--name)" is the current value of that custom property. */
function themed(value: unknown, style: CSSStyleDeclaration): unknown {
  if (typeof value === "string") {
    const name = /^var\((--[\w-]+)\)$/.exec(value)?.[1];
    return name ? style.getPropertyValue(name).trim() : value;
  }
  if (Array.isArray(value)) return value.map((item) => themed(item, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, style)]));
}

/** The link of a clicked item; only pages of this site are followed. */
function follow(event: ECElementEvent): void {
  const url = (event.data as { url?: unknown } | null)?.url;
  if (typeof url === "string" && new URL(url, location.href).origin === location.origin) location.assign(url);
}

/** The name of a file with a chart: what is shown, which chart, which period. */
function fileName(box: HTMLElement): string {
  const page = document.getElementById("main")?.dataset.file ?? "dropoff";
  return `${page}_${(box.dataset.chart ?? "").replace(/-option$/, "")}.png`;
}

/** The chart as a picture that can stand alone: on its ground, under the title of the page and its period. */
function picture(chart: ECharts, box: HTMLElement): HTMLCanvasElement {
  const scale = 2;
  const style = getComputedStyle(box);
  const drawn = chart.getRenderedCanvas({ pixelRatio: scale });
  const canvas = document.createElement("canvas");
  const [edge, head] = [16 * scale, 48 * scale];
  canvas.width = drawn.width + 2 * edge;
  canvas.height = drawn.height + head + edge;
  const context = canvas.getContext("2d");
  if (!context) return canvas;
  context.fillStyle = style.getPropertyValue("--page").trim();
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = style.getPropertyValue("--text").trim();
  context.font = `${13 * scale}px ${style.getPropertyValue("--font")}`;
  context.textBaseline = "middle";
  context.fillText(titleOf(box), edge, head / 2, canvas.width - 2 * edge);
  context.drawImage(drawn, edge, head);
  return canvas;
}

function titleOf(box: HTMLElement): string {
  const title = document.querySelector("h1")?.textContent ?? "";
  const section = box.closest("section")?.querySelector("h2")?.textContent;
  const period = document.querySelector(".facts-line span")?.textContent;
  const filters = [...document.querySelectorAll(".chips a")].map((chip) => chip.firstChild?.textContent?.trim());
  return [title, section, period, ...filters].filter(Boolean).join(" · ");
}

function save(chart: ECharts, box: HTMLElement): void {
  picture(chart, box).toBlob((blob) => {
    if (!blob) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = fileName(box);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}

/** A button beside what else can be saved of the chart. */
function offerPicture(chart: ECharts, box: HTMLElement): void {
  const place = box.closest("figure")?.querySelector(".saves");
  if (!place) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = "PNG";
  button.setAttribute("aria-label", "Save the chart as PNG");
  button.addEventListener("click", () => save(chart, box));
  place.append(button);
}

let charts: { chart: ECharts; box: HTMLElement; paint: () => void; sizes: ResizeObserver }[] = [];

function draw(box: HTMLElement): void {
  const island = document.getElementById(box.dataset.chart ?? "");
  if (!island?.textContent) return;
  const option: unknown = JSON.parse(island.textContent);
  const chart = init(box);
  const paint = () => chart.setOption(themed(option, getComputedStyle(box)) as EChartsCoreOption, { notMerge: true });
  paint();
  chart.on("click", follow);
  const sizes = new ResizeObserver(() => chart.resize());
  sizes.observe(box);
  charts.push({ chart, box, paint, sizes });
  offerPicture(chart, box);
}

/** Draws what the page holds now, and lets go of what it no longer holds. */
function drawAll(): void {
  for (const { chart, sizes } of charts.filter(({ box }) => !box.isConnected)) {
    sizes.disconnect();
    chart.dispose();
  }
  charts = charts.filter(({ box }) => box.isConnected);
  document.querySelectorAll<HTMLElement>("[data-chart]").forEach((box) => {
    if (!charts.some((one) => one.box === box)) draw(box);
  });
  if (charts.length) performance.mark("dropoff:charts");
}

// Paper is white, whatever the theme.
for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  matchMedia(query).addEventListener("change", () => charts.forEach(({ paint }) => paint()));
}
document.addEventListener("dropoff:shown", drawAll);
drawAll();
