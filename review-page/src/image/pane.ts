/** One picture on the screen with what lies over it, and what the mouse does to it. */

import type { GreyWindow, Point } from "../base/answers";
import { el } from "../base/dom";
import { makePainter, type Painter } from "./painter";
import { Overlay, type Pen } from "./overlay";
import type { Stack } from "./stack";
import { View } from "./view";

/** What the left button does instead of setting the grey window. */
export interface Tool {
  readonly name: string;
  readonly hint: string;
  down?(point: Point, event: PointerEvent): void;
  drag?(point: Point, event: PointerEvent): void;
  up?(point: Point, event: PointerEvent): void;
  hover?(point: Point): void;
  draw?(pen: Pen): void;
  /** Keep what was drawn. */
  keep?(): void;
  undo?(): boolean;
  stop?(): void;
}

export interface PaneTold {
  view?(pane: Pane): void;
  grey?(pane: Pane): void;
  wheel?(steps: number): void;
  click?(point: Point): void;
  hover?(point: Point | null): void;
}

const CLICK_PX = 4;
const WINDOW_PX = 250;
const ZOOM_STEP = 1.15;

export interface Values {
  slope: number;
  intercept: number;
}

export class Pane {
  readonly element: HTMLElement;
  readonly overlay = new Overlay();
  readonly view: View;
  tool: Tool | null = null;
  window: GreyWindow = { center: 0.5, width: 1 };
  inverted = false;
  values: Values = { slope: 1, intercept: 0 };
  stack: Stack | null = null;
  number = 0;
  readonly #corners = new Map<string, HTMLElement>();
  readonly #watch: ResizeObserver;
  #painter: Promise<Painter>;
  #disposed = false;
  #drag: { x: number; y: number; from: [number, number]; by: "tool" | "window" | "move" } | null = null;

  constructor(
    label: string,
    rows: number,
    columns: number,
    private readonly told: PaneTold,
    aspect = 1,
  ) {
    this.view = new View(rows, columns, aspect);
    this.element = el("div", { class: "pane", attrs: { role: "img", "aria-label": label } }, this.overlay.canvas);
    for (const corner of ["top-left", "top-right", "bottom-left", "bottom-right"]) {
      const made = el("div", { class: `corner ${corner}` });
      this.#corners.set(corner, made);
      this.element.append(made);
    }
    this.#painter = makePainter(this.element);
    void this.#painter.then((painter) => (this.element.dataset.painter = painter.kind));
    this.#watch = new ResizeObserver(() => this.#resize());
    this.#watch.observe(this.element);
    this.#listen();
  }

  say(corner: "top-left" | "top-right" | "bottom-left" | "bottom-right", ...lines: string[]): void {
    this.#corners.get(corner)!.replaceChildren(...lines.map((line) => el("div", {}, line)));
  }

  /** Show one picture of a stack; resolves when it is drawn. */
  async show(stack: Stack, number: number): Promise<void> {
    [this.stack, this.number] = [stack, number];
    await this.refresh();
    this.element.dataset.shown = `${stack.key}#${number}`;
  }

  /** Draw again with the window and view as they are now. */
  async refresh(): Promise<void> {
    this.overlay.draw(this.view);
    const painter = await this.#painter;
    if (this.#disposed || !this.stack) return;
    await painter.show(this.stack, this.number, this.#grey(), this.view);
  }

  drawOverlay(): void {
    this.overlay.draw(this.view);
  }

  dispose(): void {
    this.#disposed = true;
    this.#watch.disconnect();
    void this.#painter.then((painter) => painter.dispose());
  }

  #grey(): { low: number; high: number; inverted: boolean } {
    const { center, width } = this.window;
    const { slope, intercept } = this.values;
    const ends = [(center - width / 2 - intercept) / slope, (center + width / 2 - intercept) / slope];
    return { low: Math.min(...ends), high: Math.max(...ends), inverted: this.inverted !== slope < 0 };
  }

  #resize(): void {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    this.view.resize({ width, height });
    this.overlay.draw(this.view);
    void this.#painter.then((painter) => !this.#disposed && painter.resize(this.view));
  }

  // --- mouse ---

  #listen(): void {
    const canvas = this.overlay.canvas;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => (this.#drag = null));
    canvas.addEventListener("pointerleave", () => this.told.hover?.(null));
    canvas.addEventListener("dblclick", () => this.tool?.keep?.());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  #at(event: MouseEvent): Point {
    return this.view.toPicture(event.offsetX, event.offsetY);
  }

  #down(event: PointerEvent): void {
    this.overlay.canvas.setPointerCapture(event.pointerId);
    const moves = event.button !== 0 || event.shiftKey;
    const by = moves ? "move" : this.tool ? "tool" : "window";
    const place: [number, number] = [event.offsetX, event.offsetY];
    this.#drag = { x: place[0], y: place[1], from: place, by };
    if (by === "tool") this.tool!.down?.(this.#at(event), event);
  }

  #move(event: PointerEvent): void {
    const point = this.#at(event);
    this.told.hover?.(this.view.holds(point) ? point : null);
    if (!this.#drag) {
      this.tool?.hover?.(point);
      return;
    }
    const [dx, dy] = [event.offsetX - this.#drag.x, event.offsetY - this.#drag.y];
    [this.#drag.x, this.#drag.y] = [event.offsetX, event.offsetY];
    if (this.#drag.by === "tool") this.tool?.drag?.(point, event);
    else if (this.#drag.by === "move") this.moveBy(dx, dy);
    else if (this.#isDragged(event)) this.windowBy(dx, dy);
  }

  #up(event: PointerEvent): void {
    const drag = this.#drag;
    this.#drag = null;
    if (!drag) return;
    if (drag.by === "tool") this.tool?.up?.(this.#at(event), event);
    const still = Math.hypot(event.offsetX - drag.from[0], event.offsetY - drag.from[1]) < CLICK_PX;
    if (drag.by === "window" && still) this.told.click?.(this.#at(event));
  }

  #isDragged(event: PointerEvent): boolean {
    const [x, y] = this.#drag!.from;
    return Math.hypot(event.offsetX - x, event.offsetY - y) >= CLICK_PX;
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      this.zoomBy(event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP, event.offsetX, event.offsetY);
    } else if (event.deltaY) this.told.wheel?.(Math.sign(event.deltaY));
  }

  moveBy(dx: number, dy: number): void {
    this.view.move(dx, dy);
    void this.refresh();
    this.told.view?.(this);
  }

  zoomBy(factor: number, x?: number, y?: number): void {
    this.view.zoom(factor, x, y);
    void this.refresh();
    this.told.view?.(this);
  }

  windowBy(dx: number, dy: number): void {
    const { center, width } = this.window;
    this.window = { center: center + (dy * width) / WINDOW_PX, width: width * Math.exp(dx / WINDOW_PX) };
    void this.refresh();
    this.told.grey?.(this);
  }
}
