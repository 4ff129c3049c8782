/** How the grid of the reference scan is cut: sizes, sides of the patient, places in millimetres. */

import type { FollowUpAnswer, Lesion } from "../base/answers";
import type { Pixels } from "../image/stack";

export type PlaneName = "axial" | "coronal" | "sagittal";
export const PLANES: PlaneName[] = ["axial", "coronal", "sagittal"];
const AXIS: Record<PlaneName, number> = { axial: 0, coronal: 1, sagittal: 2 };

/** How the grid is cut in one plane: sizes, and whether rows run against the body. */
export interface Cut {
  plane: PlaneName;
  count: number;
  rows: number;
  columns: number;
  spacing: [row: number, col: number];
  flipped: boolean;
}

export function cutOf(answer: FollowUpAnswer, plane: PlaneName): Cut {
  const [z, y, x] = answer.shape!;
  const step = [0, 1, 2].map((axis) => Math.hypot(...answer.affine!.slice(0, 3).map((row) => row[axis]!)));
  const sizes = { axial: [y, x, 1, 2], coronal: [z, x, 0, 2], sagittal: [z, y, 0, 1] } as const;
  const [rows, columns, rowAxis, colAxis] = sizes[plane];
  // Heads are shown up: slices whose z grows towards the head are turned.
  const flipped = plane !== "axial" && answer.affine![2]![0]! > 0;
  return { plane, count: answer.shape![AXIS[plane]]!, rows, columns, spacing: [step[rowAxis]!, step[colAxis]!], flipped };
}

/** Which side of the patient is left and right on the screen, by the direction of the columns in LPS. */
export function sidesOf(affine: number[][], plane: PlaneName): string {
  const axis = plane === "sagittal" ? 1 : 0;
  const [low, high] = axis === 0 ? ["R", "L"] : ["A", "P"];
  const grows = affine[axis]![plane === "sagittal" ? 1 : 2]! > 0;
  return grows ? `${low} ◂ ▸ ${high}` : `${high} ◂ ▸ ${low}`;
}

/** The slice that a lesion lies on, null where that is not known or not in the grid. */
export function sliceOf(affine: number[][], lesion: Lesion | undefined, cut: Cut): number | null {
  if (!lesion?.centroid_mm) return null;
  const slice = Math.round(voxelOf(affine, lesion.centroid_mm)[AXIS[cut.plane]]!);
  return slice >= 0 && slice < cut.count ? slice : null;
}

export function upsideDown({ rows, columns, values }: Pixels): Pixels {
  const turned = new Uint16Array(values.length);
  for (let row = 0; row < rows; row++) {
    turned.set(values.subarray(row * columns, (row + 1) * columns), (rows - 1 - row) * columns);
  }
  return { rows, columns, values: turned };
}

/** The voxel (z, y, x) at a place in millimetres, by the inverse of a 3 × 3 matrix and its offset. */
function voxelOf(affine: number[][], [px, py, pz]: [number, number, number]): [number, number, number] {
  const [[a, b, c, t], [d, e, f, u], [g, h, i, v]] = affine as [number[], number[], number[]] as [[number, number, number, number], [number, number, number, number], [number, number, number, number]];
  const [x, y, z] = [px - t, py - u, pz - v];
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [
    (x * (e * i - f * h) + y * (c * h - b * i) + z * (b * f - c * e)) / determinant,
    (x * (f * g - d * i) + y * (a * i - c * g) + z * (c * d - a * f)) / determinant,
    (x * (d * h - e * g) + y * (b * g - a * h) + z * (a * e - b * d)) / determinant,
  ];
}
