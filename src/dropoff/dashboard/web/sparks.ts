// The tiles of the executive page as a picture: names, figures, and the small lines, which stand on the page as SVG.
import { offerPicture, SCALE } from "./picture";

const COLUMNS = 3;
const [FIGURE, LINE, BOX] = [36, 56, { width: 240, height: 48 }];
const TILE = { width: BOX.width + 32, height: LINE + BOX.height + 28 };

/** Offers the picture of the tiles that the page holds now. */
export function offerTiles(): void {
  const box = document.querySelector<HTMLElement>(".tiled");
  if (box) offerPicture(box, "metrics", () => drawn([...box.querySelectorAll<HTMLElement>(".tiles > li")]));
}

function drawn(tiles: HTMLElement[]): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = COLUMNS * TILE.width * SCALE;
  canvas.height = Math.ceil(tiles.length / COLUMNS) * TILE.height * SCALE;
  const context = canvas.getContext("2d");
  tiles.forEach((tile, place) => {
    const [x, y] = [(place % COLUMNS) * TILE.width, Math.floor(place / COLUMNS) * TILE.height];
    context?.setTransform(SCALE, 0, 0, SCALE, x * SCALE, y * SCALE);
    if (context) drawTile(context, tile);
  });
  return canvas;
}

function drawTile(context: CanvasRenderingContext2D, tile: HTMLElement): void {
  for (const [selector, y] of [["h3", 0], [".figure", FIGURE]] as const) {
    const text = tile.querySelector<HTMLElement>(selector);
    if (!text) continue;
    const style = getComputedStyle(text);
    context.fillStyle = style.color;
    context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    context.textBaseline = y ? "middle" : "top";
    context.fillText(text.innerText, 0, y, BOX.width);
  }
  context.translate(0, LINE);
  tile.querySelectorAll<SVGElement>(".spark > *").forEach((shape) => drawShape(context, shape));
}

/** A line, several joined ones or a point, as the style sheet draws it. */
function drawShape(context: CanvasRenderingContext2D, shape: SVGElement): void {
  const [style, path] = [getComputedStyle(shape), pathOf(shape)];
  context.setLineDash((style.strokeDasharray.match(/[\d.]+/g) ?? []).map(Number));
  context.lineWidth = parseFloat(style.strokeWidth);
  context.strokeStyle = style.stroke;
  context.fillStyle = style.fill;
  if (style.stroke !== "none") context.stroke(path);
  if (style.fill !== "none") context.fill(path);
}

function pathOf(shape: SVGElement): Path2D {
  if (shape instanceof SVGPolylineElement) return new Path2D(`M${shape.getAttribute("points")?.replaceAll(" ", "L")}`);
  const path = new Path2D();
  if (shape instanceof SVGLineElement) {
    path.moveTo(shape.x1.baseVal.value, shape.y1.baseVal.value);
    path.lineTo(shape.x2.baseVal.value, shape.y2.baseVal.value);
  } else if (shape instanceof SVGCircleElement) {
    path.arc(shape.cx.baseVal.value, shape.cy.baseVal.value, shape.r.baseVal.value, 0, 2 * Math.PI);
  }
  return path;
}
