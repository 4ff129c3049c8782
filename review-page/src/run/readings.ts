/** What the reader's edits mean for what the analysis found: pure, so that lists and pictures agree. */

import type { Edit, Feeder, FeederPlace, Point, Target, Tumour } from "../base/answers";
import type { PlacedTarget } from "./tools";

const SAME_PX = 8;

function apart(a: Point, b: Point): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

export function placeOf(tumour: Tumour): { id: string; point: Point } {
  return { id: tumour.id, point: tumour.centroid };
}

/** A feeder by its own place, halfway along its own branch: ids may change from one analysis to the next. */
export function feederPlace(feeder: Feeder): FeederPlace {
  const line = feeder.centreline;
  const distances = line.map((point) => apart(point, feeder.branch_start));
  const start = distances.indexOf(Math.min(...distances));
  const middle = line[Math.floor((start + line.length - 1) / 2)] ?? feeder.branch_start;
  return { id: feeder.id, branch_start: feeder.branch_start, point: middle };
}

/** Whether an edit's place means this feeder. */
export function isFeeder(place: FeederPlace, feeder: Feeder): boolean {
  if (place.branch_start) return apart(place.branch_start, feeder.branch_start) <= SAME_PX && place.id === feeder.id
    || apart(place.branch_start, feeder.branch_start) < 1;
  return place.id === feeder.id;
}

export type Verdict = "accepted" | "rejected" | null;

/** The reader's last word on a feeder. */
export function verdictOn(edits: Edit[], feeder: Feeder): { verdict: Verdict; edit?: Edit } {
  let found: { verdict: Verdict; edit?: Edit } = { verdict: null };
  for (const edit of edits) {
    if (edit.kind !== "accept_feeder" && edit.kind !== "reject_feeder") continue;
    if (isFeeder(edit.feeder, feeder)) found = { verdict: edit.kind === "accept_feeder" ? "accepted" : "rejected", edit };
  }
  return found;
}

/** Every target with where the reader has put it last. */
export function placedTargets(tumours: Tumour[], edits: Edit[]): PlacedTarget[] {
  return tumours.flatMap((tumour) =>
    tumour.targets.map((target) => ({ tumour: tumour.id, target, at: movedTo(target, tumour, edits) })),
  );
}

function movedTo(target: Target, tumour: Tumour, edits: Edit[]): Point {
  let at: Point = [target.row, target.col];
  for (const edit of edits) {
    if (edit.kind !== "move_target" || edit.tumour.id !== tumour.id || !edit.origin) continue;
    // An origin is where the analysis had it, also for what is moved a second time.
    if (apart(edit.origin, [target.row, target.col]) < 1) at = edit.to;
  }
  return at;
}

/** A region as an edit holds it: outlines, or the name of a mask that was sent. */
export interface Region {
  polygons?: Point[][] | null;
  mask?: string | null;
}

/** The last region that the reader drew of a tumour. */
export function redrawn(tumour: Tumour, edits: Edit[]): Region | null {
  return edits.filter((edit) => edit.kind === "redraw_tumour").findLast((edit) => edit.tumour.id === tumour.id) ?? null;
}

export function isRemoved(tumour: Tumour, edits: Edit[]): boolean {
  return edits.some((edit) => edit.kind === "remove_tumour" && edit.tumour.id === tumour.id);
}
