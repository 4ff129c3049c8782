/** What the left button can do on the picture of a run beside its grey window. */

import type { Point, Target } from "../base/answers";
import type { Pen } from "../image/overlay";
import type { Tool } from "../image/pane";
import { Painted, outlines } from "../image/trace";

const GRAB_PX = 16;

/** A distance between two clicks. Millimetres only where the frame tells them; pixels else, and so it is said. */
export class Measure implements Tool {
  readonly name = "measure";
  readonly hint: string;
  #lines: { from: Point; to: Point }[] = [];

  constructor(
    private readonly spacing: [number, number] | null,
    plane: string,
    private readonly redraw: () => void,
    /** Told every length, for those who do not see it on the picture. */
    private readonly say: (words: string) => void,
  ) {
    this.hint = spacing
      ? `Drag a distance. Millimetres hold ${plane === "calibrated" ? "where the run was calibrated" : `in the plane of the ${plane}`}.`
      : "Drag a distance. This run is not calibrated in the patient: pixels only.";
  }

  down(point: Point): void {
    this.#lines.push({ from: point, to: point });
  }

  drag(point: Point): void {
    this.#lines.at(-1)!.to = point;
    this.redraw();
  }

  up(): void {
    this.#lines = this.#lines.filter(({ from, to }) => from[0] !== to[0] || from[1] !== to[1]);
    const last = this.#lines.at(-1);
    if (last) this.say(this.lengthOf(last.from, last.to));
    this.redraw();
  }

  undo(): boolean {
    const had = this.#lines.pop() !== undefined;
    this.redraw();
    return had;
  }

  draw(pen: Pen): void {
    for (const { from, to } of this.#lines) {
      pen.line([from, to], "#ffffff", 1.5);
      pen.cross(from, 9, "#ffffff", 1.5);
      pen.cross(to, 9, "#ffffff", 1.5);
      pen.label(to, this.lengthOf(from, to), "#ffffff");
    }
  }

  lengthOf(from: Point, to: Point): string {
    const [rows, cols] = [to[0] - from[0], to[1] - from[1]];
    if (!this.spacing) return `${Math.hypot(rows, cols).toFixed(1)} px (not calibrated)`;
    return `${Math.hypot(rows * this.spacing[0], cols * this.spacing[1]).toFixed(1)} mm`;
  }
}

/** One click at a place. */
export class Click implements Tool {
  constructor(
    readonly name: string,
    readonly hint: string,
    private readonly act: (point: Point) => void,
  ) {}

  up(point: Point): void {
    this.act(point);
  }
}

export interface PlacedTarget {
  tumour: string;
  target: Target;
  at: Point;
}

/** A target taken with the mouse and put elsewhere. */
export class MoveTarget implements Tool {
  readonly name = "target";
  readonly hint = "Drag a target ⊕ to where the catheter should be.";
  #held: PlacedTarget | null = null;
  #to: Point = [0, 0];

  constructor(
    private readonly targets: () => PlacedTarget[],
    private readonly screen: (point: Point) => [number, number],
    private readonly act: (target: PlacedTarget, to: Point) => void,
    private readonly redraw: () => void,
  ) {}

  down(point: Point): void {
    const [x, y] = this.screen(point);
    const away = (target: PlacedTarget): number => {
      const [tx, ty] = this.screen(target.at);
      return Math.hypot(tx - x, ty - y);
    };
    const nearest = this.targets().sort((a, b) => away(a) - away(b))[0];
    this.#held = nearest && away(nearest) <= GRAB_PX ? nearest : null;
    this.#to = point;
  }

  drag(point: Point): void {
    this.#to = point;
    this.redraw();
  }

  up(point: Point): void {
    const held = this.#held;
    this.#held = null;
    if (held && (held.at[0] !== point[0] || held.at[1] !== point[1])) this.act(held, point);
    this.redraw();
  }

  draw(pen: Pen): void {
    if (!this.#held) return;
    pen.line([this.#held.at, this.#to], "#ffffff", 1.5, { dashed: true });
    pen.ring(this.#to, 9, "#ffffff");
  }
}

/** A region painted with a brush; Alt wipes. */
export class Brush implements Tool {
  readonly name = "brush";
  readonly hint = "Paint; Alt or “Wipe” wipes. Double click or Enter keeps it. Holes are filled.";
  radius = 6;
  wiping = false;
  #last: Point | null = null;
  #over: Point | null = null;
  #before: Uint8Array[] = [];

  constructor(
    readonly painted: Painted,
    private readonly done: (polygons: Point[][]) => void,
    private readonly redraw: () => void,
  ) {}

  down(point: Point, event: PointerEvent): void {
    this.#before.push(this.painted.cells.slice());
    if (this.#before.length > 20) this.#before.shift();
    this.#last = point;
    this.drag(point, event);
  }

  drag(point: Point, event: PointerEvent): void {
    const value = this.wiping || event.altKey ? 0 : 1;
    this.painted.stroke(this.#last ?? point, point, this.radius, value);
    this.#last = this.#over = point;
    this.redraw();
  }

  up(): void {
    this.#last = null;
    this.redraw();
  }

  hover(point: Point): void {
    this.#over = point;
    this.redraw();
  }

  undo(): boolean {
    const before = this.#before.pop();
    if (before) this.painted.cells.set(before);
    this.redraw();
    return before !== undefined;
  }

  /** Whether anything was painted or wiped. */
  get touched(): boolean {
    return this.#before.length > 0;
  }

  polygons(): Point[][] {
    return outlines(this.painted);
  }

  keep(): void {
    this.done(this.polygons());
  }

  draw(pen: Pen): void {
    for (const line of outlines(this.painted)) {
      pen.area(line, "rgba(255, 205, 70, 0.25)");
      pen.line(line, "#ffcd46", 1.5, { closed: true });
    }
    if (this.#over) pen.circle(this.#over, this.radius * pen.view.scale, "#ffffff", 1);
  }
}

/** A region by its corners. */
export class Polygon implements Tool {
  readonly name = "polygon";
  readonly hint = "Click the corners; double click or Enter closes it. Ctrl Z takes a corner back.";
  #corners: Point[] = [];
  #over: Point | null = null;

  constructor(
    private readonly done: (polygons: Point[][]) => void,
    private readonly redraw: () => void,
    private readonly before: Point[][] = [],
  ) {}

  up(point: Point): void {
    const last = this.#corners.at(-1);
    // A double click puts no corner twice.
    if (last && Math.hypot(last[0] - point[0], last[1] - point[1]) < 0.75) return;
    this.#corners.push(point);
    this.redraw();
  }

  hover(point: Point): void {
    this.#over = point;
    this.redraw();
  }

  undo(): boolean {
    const had = this.#corners.pop() !== undefined;
    this.redraw();
    return had;
  }

  get touched(): boolean {
    return this.#corners.length >= 3;
  }

  polygons(): Point[][] {
    return this.touched ? [this.#corners] : [];
  }

  keep(): void {
    this.done(this.polygons());
  }

  draw(pen: Pen): void {
    for (const line of this.before) pen.line(line, "#ffcd46", 1, { closed: true, dashed: true });
    const shown = this.#over ? [...this.#corners, this.#over] : this.#corners;
    if (shown.length >= 3) pen.area(shown, "rgba(255, 205, 70, 0.2)");
    pen.line(shown, "#ffcd46", 1.5, { closed: shown.length >= 3 });
    for (const corner of this.#corners) pen.ring(corner, 3, "#ffcd46", 1.5);
  }
}
