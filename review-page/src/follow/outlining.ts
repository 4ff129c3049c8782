/** A lesion outlined by hand on the reference scan, slice by slice; all its slices are one edit. */

import type { Point } from "../base/answers";
import { button, el, select } from "../base/dom";
import { notify } from "../base/notices";
import type { Corrections } from "../case/corrections";
import type { Pen } from "../image/overlay";
import type { Pane, Tool } from "../image/pane";
import { Painted } from "../image/trace";
import { brushSize } from "../run/correcting";
import { Brush, Polygon } from "../run/tools";
import type { Cut } from "./slices";

type RegionTool = "brush" | "polygon";
type Planes = Map<number, Point[][]>;
// The brush at first, as a share of the slice's height.
const BRUSH_SHARE = 1 / 60;

export interface OutliningHost {
  corrections: Corrections;
  lesions: string[];
  /** The picture of the reference scan and how it is cut; null where lesions cannot be outlined. */
  place(): { pane: Pane; cut: Cut; position: number } | null;
  /** Take up a tool on the reference scan, with its own buttons, or put it down. */
  use(tool: Tool | null, ...buttons: Node[]): void;
}

export class Outlining {
  #lesion: string;
  /** Slices outlined and not sent yet, by z. */
  #drawn: Planes = new Map();
  #tool: Brush | Polygon | null = null;

  constructor(private readonly host: OutliningHost) {
    this.#lesion = host.lesions[0] ?? "";
  }

  choose(lesion: string): void {
    if (lesion === this.#lesion) return;
    this.#lesion = lesion;
    this.#drawn.clear();
    this.leave();
  }

  /** The buttons that begin it, where there is a lesion and an axial slice of the reference scan. */
  buttons(): HTMLElement | null {
    if (!this.host.place() || !this.host.lesions.length) return null;
    const tool = (name: RegionTool, label: string, title: string): HTMLElement =>
      button({ label, title, pressed: this.#tool?.name === name, act: () => this.draw(name) });
    return el(
      "div",
      { class: "group", attrs: { role: "group", "aria-label": "Outline a lesion" } },
      select("Lesion", this.host.lesions.map((one): [string, string] => [one, one]), this.#lesion, (value) => this.choose(value)),
      tool("brush", "Brush", "Paint the lesion on the reference scan (B)"),
      tool("polygon", "Polygon", "Outline the lesion on the reference scan (P)"),
    );
  }

  /** Begin on the slice that is shown; the brush begins with the reader's own outline there. */
  draw(name: RegionTool): void {
    const place = this.host.place();
    if (!place) return notify("Lesions are outlined on axial slices of the reference scan.", "failed");
    const { pane, cut, position } = place;
    const redraw = (): void => pane.drawOverlay();
    const done = (polygons: Point[][]): void => {
      if (!polygons.length) return notify("Nothing is drawn on this slice.", "failed");
      this.#drawn.set(position, polygons);
      this.draw(name);
    };
    if (name === "polygon") this.#tool = new Polygon(done, redraw);
    else {
      const painted = new Painted(cut.rows, cut.columns);
      painted.fill(this.#planesOf(this.#lesion).get(position) ?? []);
      this.#tool = new Brush(painted, done, redraw);
      this.#tool.radius = Math.max(2, Math.round(cut.rows * BRUSH_SHARE));
    }
    this.#showTool();
  }

  leave(): void {
    this.#tool = null;
    this.host.use(null);
  }

  /** Another slice is about to be shown: what was drawn on this one is kept for the lesion. */
  leaveSlice(position: number): void {
    if (this.#tool?.touched) this.#drawn.set(position, this.#tool.polygons());
  }

  /** Another slice is shown: the same tool goes on there. */
  enterSlice(): void {
    if (this.#tool) this.draw(this.#tool.name);
  }

  /** Draw the reader's outlines of the slice that is shown. */
  drawOn(pen: Pen, position: number): void {
    for (const lesion of this.host.lesions) {
      for (const line of this.#planesOf(lesion).get(position) ?? []) {
        pen.line(line, "#ffffff", 2, { closed: true, dashed: true });
        pen.label(line[0]!, `${lesion}, yours`, "#ffffff");
      }
    }
  }

  #showTool(): void {
    const tool = this.#tool!;
    const kept = `${this.#drawn.size} slice${this.#drawn.size === 1 ? "" : "s"} kept`;
    this.host.use(
      tool,
      ...(tool instanceof Brush ? [brushSize(tool), button({ label: "Wipe", pressed: tool.wiping, act: () => ((tool.wiping = !tool.wiping), this.#showTool()) })] : []),
      button({ label: "Keep this slice", class: "primary", title: "Keep this slice (Enter)", act: () => tool.keep() }),
      button({ label: `Save ${this.#lesion}`, title: "Send all slices as one change", act: () => this.#save() }),
      el("span", { class: "quiet" }, kept),
    );
  }

  /** The reader's outlines of a lesion: those of the last edit, then what is not sent yet. */
  #planesOf(lesion: string): Planes {
    const edits = this.host.corrections.edits.filter((one) => one.kind === "redraw_lesion");
    const last = edits.findLast((one) => one.lesion === lesion);
    const found: Planes = new Map((last?.planes ?? []).map((one) => [one.z, one.polygons]));
    if (lesion === this.#lesion) for (const [z, polygons] of this.#drawn) found.set(z, polygons);
    return found;
  }

  /** All slices of the lesion as one edit, those of the edit before included. */
  #save(): void {
    const place = this.host.place();
    if (place) this.leaveSlice(place.position);
    const planes = [...this.#planesOf(this.#lesion)].filter(([, polygons]) => polygons.length);
    if (!planes.length) return notify("No slice holds an outline.", "failed");
    this.host.corrections.add({ kind: "redraw_lesion", lesion: this.#lesion, planes: planes.map(([z, polygons]) => ({ z, polygons })) });
    this.#drawn.clear();
    this.leave();
  }
}
