/** A reader's edits in words, and where they are. */

import type { Edit, Point } from "../base/answers";

/** An edit in the reader's words. */
export function wordsOf(edit: Edit): string {
  switch (edit.kind) {
    case "accept_feeder":
      return `Feeder ${edit.feeder.id ?? ""} accepted`;
    case "reject_feeder":
      return `Feeder ${edit.feeder.id ?? ""} rejected`;
    case "add_feeder":
      return `Feeder added to ${edit.tumour.id ?? "a tumour"}`;
    case "move_target":
      return `Target of ${edit.tumour.id ?? "a tumour"} moved`;
    case "add_tumour":
      return "Blush added";
    case "redraw_tumour":
      return `Blush ${edit.tumour.id ?? ""} redrawn`;
    case "remove_tumour":
      return `Blush ${edit.tumour.id ?? ""} removed`;
    case "set_phase":
      return "Phases set";
    case "redraw_lesion":
      return `Lesion ${edit.lesion} outlined on ${edit.planes.length} slice${edit.planes.length === 1 ? "" : "s"}`;
    case "note":
      return `Note: ${edit.text}`;
  }
}

/** The place that an edit is about, to show it. */
export function pointOf(edit: Edit): Point | null {
  switch (edit.kind) {
    case "accept_feeder":
    case "reject_feeder":
      return edit.feeder.point ?? edit.feeder.branch_start ?? null;
    case "add_feeder":
      return edit.click;
    case "move_target":
      return edit.to;
    case "note":
      return edit.point ?? null;
    default:
      return null;
  }
}
