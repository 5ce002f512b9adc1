// Draws every chart of a page. The options come complete from the server (dashboard/charts.py);
// here they get the theme's colours, the size of their box, and links.
import { BarChart, LineChart, SankeyChart, ScatterChart } from "echarts/charts";
import { AriaComponent, GridComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { init, use, type ECElementEvent, type EChartsCoreOption } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

// Canvas, not SVG: the SVG renderer writes style attributes, which the content security policy forbids.
use([
  BarChart, LineChart, SankeyChart, ScatterChart, GridComponent, MarkAreaComponent, MarkLineComponent,
  TooltipComponent, AriaComponent, CanvasRenderer,
]);

const dark = matchMedia("(prefers-color-scheme: dark)");

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

function draw(box: HTMLElement): void {
  const island = document.getElementById(box.dataset.chart ?? "");
  if (!island?.textContent) return;
  const option: unknown = JSON.parse(island.textContent);
  const chart = init(box);
  const paint = () => chart.setOption(themed(option, getComputedStyle(box)) as EChartsCoreOption, { notMerge: true });
  paint();
  chart.on("click", follow);
  dark.addEventListener("change", paint);
  new ResizeObserver(() => chart.resize()).observe(box);
}

document.querySelectorAll<HTMLElement>("[data-chart]").forEach(draw);
