/** The tools with which a reader corrects: a feeder by one click, a target moved, a blush painted or outlined. */

import type { Point, SnapAnswer, Tumour } from "../base/answers";
import { sentenceOf } from "../base/api";
import { button, el, fill, select } from "../base/dom";
import { ask, notify } from "../base/notices";
import type { Tool } from "../image/pane";
import { Painted } from "../image/trace";
import type { Drawings } from "./drawings";
import type { FramesView } from "./frames-view";
import type { OpenRun } from "./open-run";
import { isRemoved, placeOf, placedTargets, redrawn, type Region } from "./readings";
import { Brush, Click, Measure, MoveTarget, Polygon } from "./tools";

const NEW_TUMOUR = "new";
// The brush at first, as a share of the frame's height.
const BRUSH_SHARE = 1 / 80;

type RegionTool = "brush" | "polygon";

export class Correcting {
  readonly toolbar = el("div", { class: "row toolbar", attrs: { hidden: true } });
  #drawn = NEW_TUMOUR;

  constructor(
    private readonly run: OpenRun,
    private readonly frames: FramesView,
    private readonly drawings: Drawings,
    /** Another tool is held. */
    private readonly changed: () => void,
  ) {}

  /** Take up a tool, or put down the one that is held. */
  use(tool: Tool | null): void {
    const { pane } = this.frames;
    pane.tool = tool;
    pane.element.dataset.tool = tool?.name ?? "";
    this.#showToolbar(tool);
    this.changed();
    pane.drawOverlay();
  }

  keep(): void {
    this.frames.pane.tool?.keep?.();
  }

  /** Take back a step of the tool that is held, or else the last correction. */
  undo(): void {
    if (!this.frames.pane.tool?.undo?.()) this.run.corrections.undo();
  }

  measure(): void {
    const plane = this.run.results?.analysis.image.spacing_plane ?? "";
    const say = (words: string): void => {
      const hint = this.toolbar.querySelector(".hint");
      if (hint) hint.textContent = words;
    };
    this.use(new Measure(this.frames.info.spacing_mm, plane, this.#redraw, say));
  }

  /** The place that a note is about. */
  markPlace(take: (point: Point) => void): void {
    const click = (point: Point): void => (take(point), this.use(null));
    this.use(new Click("note", "Click the place that the note is about.", click));
  }

  #redraw = (): void => this.frames.pane.drawOverlay();

  // --- feeders and targets ---

  addFeeder(): void {
    if (!this.run.tumours.length) return notify("There is no tumour that a feeder could be added to. Outline one first.", "failed");
    this.use(new Click("feeder", "Click the vessel that supplies the tumour: its way is found along the tree.", (point) => void this.#addFeeder(point)));
  }

  async #addFeeder(click: Point): Promise<void> {
    const tumour = await this.#whichTumour(click);
    if (!tumour) return;
    try {
      const snapped = await this.#snap(tumour.id, click);
      if (!snapped.found) return notify(snapped.sentence, "failed");
      const edit = this.run.add({ kind: "add_feeder", tumour: placeOf(tumour), click });
      this.drawings.snapped.set(edit.id, snapped);
      notify(`Feeder added to ${tumour.id}. It is measured when the case is analysed again.`);
      this.#redraw();
    } catch (error) {
      notify(sentenceOf(error), "failed");
    }
  }

  #snap(tumour: string, click: Point): Promise<SnapAnswer> {
    const { api, id, results } = this.run;
    return api.post<SnapAnswer>(`/cases/${id}/snap?result=${results!.kind}`, { tumour, click });
  }

  /** After a reload the ways of added feeders are asked for again: only the click is stored. */
  async snapAgain(): Promise<void> {
    const { snapped } = this.drawings;
    for (const edit of this.run.corrections.edits) {
      if (edit.kind !== "add_feeder" || snapped.has(edit.id) || !edit.tumour.id) continue;
      snapped.set(edit.id, { found: false, sentence: "", centreline: [], branch_start: null, gap_px: null });
      const found = await this.#snap(edit.tumour.id, edit.click).catch(() => null);
      if (found) snapped.set(edit.id, found);
      this.#redraw();
    }
  }

  /** The tumour a click is for: the only one, or the reader's answer, the nearest one first. */
  async #whichTumour(click: Point): Promise<Tumour | undefined> {
    const open = this.run.tumours.filter((one) => !isRemoved(one, this.run.openEdits));
    if (open.length <= 1) return open[0];
    const away = (one: Tumour): number => Math.hypot(one.centroid[0] - click[0], one.centroid[1] - click[1]);
    const near = open.toSorted((a, b) => away(a) - away(b));
    const answer = await ask("Which tumour?", "Which tumour does this vessel supply?", near.map((one): [string, string] => [one.id, one.id]));
    return open.find((one) => one.id === answer);
  }

  moveTarget(): void {
    const targets = (): ReturnType<typeof placedTargets> => placedTargets(this.run.tumours, this.run.openEdits);
    if (!targets().length) return notify("There is no target in this run.", "failed");
    const screen = (point: Point): [number, number] => this.frames.pane.view.toScreen(point);
    const move = ({ tumour, target }: ReturnType<typeof placedTargets>[number], to: Point): void => {
      const of = this.run.tumours.find((one) => one.id === tumour)!;
      this.run.add({ kind: "move_target", tumour: placeOf(of), origin: [target.row, target.col], to: rounded(to) });
    };
    this.use(new MoveTarget(targets, screen, move, this.#redraw));
  }

  // --- regions ---

  /** Paint or outline a blush: of the tumour that is given, of the one drawn last, or a new one for null. */
  draw(name: RegionTool, tumour: Tumour | null = this.#lastDrawn): void {
    this.#drawn = tumour?.id ?? NEW_TUMOUR;
    const done = (polygons: Point[][]): void => this.#keepRegion(tumour, polygons);
    const before = tumour ? redrawn(tumour, this.run.openEdits) : null;
    if (name === "polygon") this.use(new Polygon(done, this.#redraw, before?.polygons ?? []));
    else void this.#paint(tumour, before, done);
  }

  get #lastDrawn(): Tumour | null {
    return this.run.tumours.find((one) => one.id === this.#drawn) ?? null;
  }

  /** A brush that begins with what is there: the reader's own region, or else that of the analysis. */
  async #paint(tumour: Tumour | null, before: Region | null, done: (polygons: Point[][]) => void): Promise<void> {
    const { rows, columns } = this.frames.info;
    const painted = new Painted(rows, columns);
    const brush = new Brush(painted, done, this.#redraw);
    brush.radius = Math.max(3, Math.round(rows * BRUSH_SHARE));
    try {
      if (before?.polygons) painted.fill(before.polygons);
      else if (before?.mask) painted.take(await this.run.drawnMask(before.mask));
      else if (tumour) painted.take(await this.run.results!.mask(tumour.id));
      this.use(brush);
    } catch (error) {
      notify(sentenceOf(error), "failed");
    }
  }

  #keepRegion(tumour: Tumour | null, polygons: Point[][]): void {
    if (!polygons.length) return notify("Nothing is drawn yet.", "failed");
    if (tumour) this.run.add({ kind: "redraw_tumour", tumour: placeOf(tumour), polygons });
    else this.run.add({ kind: "add_tumour", polygons });
    this.use(null);
  }

  // --- what the tool that is held says and asks ---

  #showToolbar(tool: Tool | null): void {
    this.toolbar.hidden = tool === null;
    if (!tool) return;
    const brush = tool instanceof Brush ? tool : null;
    const region = brush !== null || tool instanceof Polygon;
    fill(
      this.toolbar,
      el("span", { class: "hint", attrs: { role: "status" } }, tool.hint),
      region && this.#tumourChoice(tool.name as RegionTool),
      brush && brushSize(brush),
      brush && button({ label: "Wipe", pressed: brush.wiping, act: () => ((brush.wiping = !brush.wiping), this.#showToolbar(tool)) }),
      region && button({ label: "Keep", class: "primary", title: "Keep (Enter)", act: () => tool.keep?.() }),
      button({ label: region ? "Leave without keeping" : "Leave", title: "Leave (Esc)", act: () => this.use(null) }),
    );
  }

  #tumourChoice(name: RegionTool): HTMLElement {
    const { tumours } = this.run;
    const options: [string, string][] = [...tumours.map((one): [string, string] => [one.id, one.id]), [NEW_TUMOUR, "A new one"]];
    return select("Blush of", options, this.#drawn, (value) => this.draw(name, tumours.find((one) => one.id === value) ?? null));
  }
}

export function brushSize(brush: Brush): HTMLElement {
  const size = el("input", {
    attrs: { type: "range", min: 1, max: 40, value: brush.radius, "aria-label": "Size of the brush" },
    on: { input: () => (brush.radius = Number(size.value)) },
  });
  return el("label", { class: "field" }, el("span", {}, "Size"), size);
}

function rounded([row, col]: Point): Point {
  return [Math.round(row * 100) / 100, Math.round(col * 100) / 100];
}
