// Draws every chart of a page. The options come complete from the server (dashboard/charts);
// here they get the theme's colours, the size of their box, and links.
import { BarChart, LineChart, SankeyChart, ScatterChart } from "echarts/charts";
import { AriaComponent, GridComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { init, use, type ECElementEvent, type ECharts, type EChartsCoreOption } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { offerPicture, SCALE } from "./picture";

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
  offerPicture(box.closest("figure"), (box.dataset.chart ?? "").replace(/-option$/, ""), () =>
    chart.getRenderedCanvas({ pixelRatio: SCALE }),
  );
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
