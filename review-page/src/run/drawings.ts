/** What is drawn over the frames: findings of the analysis, and what the reader said of them. */

import type { Edit, Feeder, Point, SnapAnswer } from "../base/answers";
import { percent } from "../base/words";
import { drawPlaced } from "../image/canvas-painter";
import { COLOURS } from "../image/colours";
import { maskSheet, type Pen } from "../image/overlay";
import type { Layers } from "./layers";
import type { OpenRun } from "./open-run";
import { isRemoved, placedTargets, redrawn, verdictOn, type Region } from "./readings";

const BLUSH = "#ffcd46";
const TARGET = "#4fd1c5";
const FEEDER = "#50e1a0";
const REJECTED = "#ff7b72";
const SHUNT = "#eb6eff";
const WHITE = "#ffffff";
const MOST_LETTERS = 32;

export class Drawings {
  /** The feeder that the mouse is on, or else the chosen one. */
  feeder: Feeder | null = null;
  /** Where the curve was asked for. */
  picked: Point | null = null;
  /** The ways of feeders that were added, by edit. */
  readonly snapped = new Map<string, SnapAnswer>();
  readonly #sheets = new Map<string, HTMLCanvasElement>();

  constructor(
    private readonly run: OpenRun,
    private readonly layers: Layers,
    private readonly redraw: () => void,
  ) {}

  findings(pen: Pen): void {
    const { results } = this.run;
    if (!results) return;
    const { shunts, catheter_tip: tip } = results.analysis;
    const edits = this.run.openEdits;
    if (tip && this.layers.find("catheter").shown) pen.label([tip.row, tip.col], "tip", "#d8d8e0");
    if (this.layers.find("tumours").shown) {
      for (const one of this.run.tumours) if (!isRemoved(one, edits)) pen.label(one.centroid, one.id, BLUSH, [-8, 4]);
    }
    if (this.layers.find("shunts").shown) {
      for (const one of shunts) pen.label([one.row, one.col], `${one.kind} ${percent(one.probability)}`, SHUNT);
    }
    if (this.layers.find("targets").shown) this.#targets(pen, edits);
    if (this.feeder) drawFeeder(pen, this.feeder, verdictOn(edits, this.feeder).verdict === "rejected");
  }

  readings(pen: Pen): void {
    const edits = this.run.openEdits;
    for (const edit of edits) {
      if (edit.kind === "add_feeder") this.#added(pen, edit);
      if (edit.kind === "note" && edit.point) drawNote(pen, edit.point, edit.text);
      if (edit.kind === "add_tumour") this.#region(pen, edit);
    }
    for (const tumour of this.run.tumours) this.#region(pen, redrawn(tumour, edits) ?? {});
    if (this.picked) pen.ring(this.picked, 5, WHITE, 1.5);
  }

  /** A region by its outlines, or by its mask as soon as that is there. */
  #region(pen: Pen, { polygons, mask }: Region): void {
    for (const line of polygons ?? []) pen.line(line, BLUSH, 2, { closed: true, dashed: true });
    if (!mask) return;
    const sheet = this.#sheets.get(mask);
    if (sheet) return drawPlaced(pen.context, sheet, pen.view);
    void this.run.drawnMask(mask).then((pixels) => {
      if (this.#sheets.has(mask)) return;
      this.#sheets.set(mask, maskSheet(pixels, COLOURS.tumours!, true));
      this.redraw();
    }, () => undefined);
  }

  #targets(pen: Pen, edits: Edit[]): void {
    pen.context.globalAlpha = 0.3 + 0.7 * this.layers.find("targets").opacity;
    for (const { target, at } of placedTargets(this.run.tumours, edits)) {
      const moved = at[0] !== target.row || at[1] !== target.col;
      if (moved) pen.line([[target.row, target.col], at], TARGET, 1.5, { dashed: true });
      pen.ring(at, 7, TARGET);
      pen.cross(at, 12, TARGET, 1.5);
      const covers = (target.covers ?? []).map((id) => id.replace(/^.*-/, "")).join(" ");
      pen.label(at, moved ? "moved" : covers, TARGET, [11, 14]);
    }
    pen.context.globalAlpha = 1;
  }

  #added(pen: Pen, edit: Edit & { kind: "add_feeder" }): void {
    const snapped = this.snapped.get(edit.id);
    if (snapped?.found) pen.line(snapped.centreline, FEEDER, 3, { dashed: true });
    pen.ring(edit.click, 6, FEEDER);
    pen.label(edit.click, "added", FEEDER);
  }
}

/** The way to a tumour: white as far as it is shared, in colour from where it leaves the shared vessel. */
function drawFeeder(pen: Pen, feeder: Feeder, rejected: boolean): void {
  const [row, col] = feeder.branch_start;
  const own = Math.max(0, feeder.centreline.findIndex((one) => Math.hypot(one[0] - row, one[1] - col) < 1));
  pen.line(feeder.centreline.slice(0, own + 1), "rgba(255,255,255,0.75)", 2);
  pen.line(feeder.centreline.slice(own), rejected ? REJECTED : FEEDER, 3.5, { dashed: rejected });
  pen.ring(feeder.branch_start, 5, WHITE);
  pen.label(feeder.branch_start, feeder.id, WHITE);
}

function drawNote(pen: Pen, point: Point, text: string): void {
  pen.cross(point, 8, WHITE);
  pen.label(point, text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS - 1)}…` : text, WHITE);
}
