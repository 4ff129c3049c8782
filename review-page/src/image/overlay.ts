/** What lies over a picture: masks in colour, maps, and drawings. One canvas, the same for every painter. */

import type { Point } from "../base/answers";
import { el } from "../base/dom";
import { drawPlaced, fitCanvas } from "./canvas-painter";
import type { View } from "./view";

export type Colour = [red: number, green: number, blue: number];

/** A picture of the frame's size that is laid over it. */
export interface Sheet {
  name: string;
  picture: HTMLCanvasElement;
  opacity: number;
  shown: boolean;
}

/** Draws in screen pixels, told in places of the picture. */
export class Pen {
  /** How much larger than on a laptop all marks are: they grow with the page's letters. */
  readonly #grown = parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;

  constructor(
    readonly context: CanvasRenderingContext2D,
    readonly view: View,
  ) {}

  line(points: Point[], colour: string, width = 2, { closed = false, dashed = false } = {}): void {
    if (points.length < 2) return;
    const { context } = this;
    this.#trace(points, closed);
    context.setLineDash(dashed ? [6 * this.#grown, 5 * this.#grown] : []);
    // A dark rim keeps a bright line visible on bright ground.
    for (const [style, wide] of [["rgba(0,0,0,0.65)", width + 2], [colour, width]] as const) {
      context.strokeStyle = style;
      context.lineWidth = wide * this.#grown;
      context.stroke();
    }
    context.setLineDash([]);
  }

  area(points: Point[], colour: string): void {
    this.#trace(points, true);
    this.context.fillStyle = colour;
    this.context.fill();
  }

  /** A circle of a size on the screen. */
  ring(point: Point, radius: number, colour: string, width = 2): void {
    this.circle(point, radius * this.#grown, colour, width);
  }

  /** A circle of a size in the picture, told in pixels of the screen. */
  circle(point: Point, radius: number, colour: string, width = 2): void {
    const [x, y] = this.view.toScreen(point);
    const { context } = this;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    for (const [style, wide] of [["rgba(0,0,0,0.65)", width + 2], [colour, width]] as const) {
      context.strokeStyle = style;
      context.lineWidth = wide * this.#grown;
      context.stroke();
    }
  }

  cross(point: Point, reach: number, colour: string, width = 2): void {
    const [x, y] = this.view.toScreen(point);
    const { context } = this;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
      context.moveTo(x + dx * 4 * this.#grown, y + dy * 4 * this.#grown);
      context.lineTo(x + dx * reach * this.#grown, y + dy * reach * this.#grown);
    }
    for (const [style, wide] of [["rgba(0,0,0,0.65)", width + 2], [colour, width]] as const) {
      context.strokeStyle = style;
      context.lineWidth = wide * this.#grown;
      context.stroke();
    }
  }

  label(point: Point, text: string, colour: string, offset: [number, number] = [8, -8]): void {
    const [x, y] = this.view.toScreen(point);
    const { context } = this;
    context.font = `600 ${12 * this.#grown}px system-ui, sans-serif`;
    context.lineWidth = 3.5 * this.#grown;
    context.lineJoin = "round";
    context.strokeStyle = "rgba(0,0,0,0.8)";
    const [left, bottom] = [x + offset[0] * this.#grown, y + offset[1] * this.#grown];
    context.strokeText(text, left, bottom);
    context.fillStyle = colour;
    context.fillText(text, left, bottom);
  }

  #trace(points: Point[], closed: boolean): void {
    this.context.beginPath();
    points.forEach((point, number) => {
      const [x, y] = this.view.toScreen(point);
      if (number === 0) this.context.moveTo(x, y);
      else this.context.lineTo(x, y);
    });
    if (closed) this.context.closePath();
    this.context.lineJoin = "round";
    this.context.lineCap = "round";
  }
}

export class Overlay {
  readonly canvas = el("canvas", { class: "overlay", attrs: { "aria-hidden": "true" } });
  sheets: Sheet[] = [];
  /** Drawn above the sheets, in this order. */
  drawings: ((pen: Pen) => void)[] = [];
  /** What is being drawn by hand: shown also while the rest is hidden. */
  tools: ((pen: Pen) => void) | null = null;
  hidden = false;

  draw(view: View): void {
    const context = fitCanvas(this.canvas, view);
    const pen = new Pen(context, view);
    if (!this.hidden) this.#drawFound(pen);
    this.tools?.(pen);
  }

  #drawFound(pen: Pen): void {
    for (const sheet of this.sheets.filter((one) => one.shown)) {
      pen.context.globalAlpha = sheet.opacity;
      drawPlaced(pen.context, sheet.picture, pen.view);
    }
    pen.context.globalAlpha = 1;
    for (const drawing of this.drawings) drawing(pen);
  }
}

/** A mask in one colour; outlined ones are faint inside and clear at their edge. */
export function maskSheet(mask: ImageData, [red, green, blue]: Colour, outlined: boolean): HTMLCanvasElement {
  const { width, height, data } = mask;
  const coloured = new ImageData(width, height);
  const inside = (x: number, y: number): boolean =>
    x >= 0 && y >= 0 && x < width && y < height && data[4 * (y * width + x)]! > 127;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      const rim = !inside(x - 1, y) || !inside(x + 1, y) || !inside(x, y - 1) || !inside(x, y + 1);
      coloured.data.set([red, green, blue, outlined && !rim ? 56 : 255], 4 * (y * width + x));
    }
  }
  return asCanvas(coloured);
}

export function asCanvas(image: ImageData): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return canvas;
}

/** The pixels of a picture from the server. */
export async function readPicture(answer: Response): Promise<ImageData> {
  const bitmap = await createImageBitmap(await answer.blob());
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}
