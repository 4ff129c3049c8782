/** Grey pictures on a plain 2-D canvas, for browsers without WebGL. */

import { el } from "../base/dom";
import type { Grey, Painter } from "./painter";
import type { Pixels, Stack } from "./stack";
import type { View } from "./view";

const LEVELS = 65536;

/** Opaque grey (as the bytes of a little-endian word) for each stored value. */
export function greyTable({ low, high, inverted }: Grey): Uint32Array {
  const table = new Uint32Array(LEVELS);
  const width = Math.max(high - low, 1e-9);
  for (let stored = 0; stored < LEVELS; stored++) {
    const share = Math.min(Math.max((stored - low) / width, 0), 1);
    const grey = Math.round((inverted ? 1 - share : share) * 255);
    table[stored] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

export class CanvasPainter implements Painter {
  readonly kind = "canvas";
  readonly #canvas: HTMLCanvasElement;
  readonly #picture = document.createElement("canvas");
  #table: Uint32Array = new Uint32Array(0);
  #grey: Grey | null = null;
  #drawn = "";
  #wanted = "";

  constructor(host: HTMLElement) {
    this.#canvas = el("canvas", { class: "picture", attrs: { "aria-hidden": "true" } });
    host.prepend(this.#canvas);
  }

  async show(stack: Stack, number: number, grey: Grey, view: View): Promise<void> {
    const wanted = `${stack.key}/${number}`;
    this.#wanted = wanted;
    const pixels = await stack.load(number);
    if (this.#wanted !== wanted) return;
    this.#window(pixels, wanted, grey);
    this.#place(view);
  }

  resize(view: View): void {
    this.#place(view);
  }

  dispose(): void {
    this.#canvas.remove();
  }

  #window(pixels: Pixels, key: string, grey: Grey): void {
    const changed = JSON.stringify(grey) !== JSON.stringify(this.#grey);
    if (!changed && key === this.#drawn) return;
    if (changed) this.#table = greyTable(grey);
    [this.#grey, this.#drawn] = [{ ...grey }, key];
    if (this.#picture.width !== pixels.columns) this.#picture.width = pixels.columns;
    if (this.#picture.height !== pixels.rows) this.#picture.height = pixels.rows;
    const image = new ImageData(pixels.columns, pixels.rows);
    const words = new Uint32Array(image.data.buffer);
    const { values } = pixels;
    for (let at = 0; at < words.length; at++) words[at] = this.#table[values[at]!]!;
    this.#picture.getContext("2d")!.putImageData(image, 0, 0);
  }

  #place(view: View): void {
    const context = fitCanvas(this.#canvas, view);
    context.imageSmoothingEnabled = view.scale < 3;
    drawPlaced(context, this.#picture, view);
  }
}

/** Give a canvas the screen's own pixels, clear it, and return its context in CSS pixels. */
export function fitCanvas(canvas: HTMLCanvasElement, view: View): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio;
  const [width, height] = [Math.round(view.screen.width * ratio), Math.round(view.screen.height * ratio)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, view.screen.width, view.screen.height);
  return context;
}

/** Draw a picture of the frame's size where the view puts the frame. */
export function drawPlaced(context: CanvasRenderingContext2D, picture: HTMLCanvasElement, view: View): void {
  if (!picture.width || !picture.height) return;
  const [x, y] = view.toScreen([-0.5, -0.5]);
  context.drawImage(picture, x, y, view.columns * view.scale, view.rows * view.scale * view.aspect);
}
