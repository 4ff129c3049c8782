/** Outlines of what was painted: along the edges of pixels, so that filling them gives the same pixels again. */

import type { Point } from "../base/answers";

/** A mask of the frame's size that is painted with a brush. */
export class Painted {
  readonly cells: Uint8Array;

  constructor(
    readonly rows: number,
    readonly columns: number,
  ) {
    this.cells = new Uint8Array(rows * columns);
  }

  has(row: number, col: number): boolean {
    const within = row >= 0 && col >= 0 && row < this.rows && col < this.columns;
    return within && this.cells[row * this.columns + col] === 1;
  }

  /** Paint, or wipe, a disc. */
  disc([row, col]: Point, radius: number, value: 0 | 1): void {
    const first = Math.max(0, Math.floor(row - radius));
    const last = Math.min(this.rows - 1, Math.ceil(row + radius));
    for (let r = first; r <= last; r++) {
      for (let c = Math.max(0, Math.floor(col - radius)); c <= Math.min(this.columns - 1, col + radius); c++) {
        if (Math.hypot(r - row, c - col) <= radius) this.cells[r * this.columns + c] = value;
      }
    }
  }

  /** Paint discs along a stroke, close enough to leave no gaps. */
  stroke(from: Point, to: Point, radius: number, value: 0 | 1): void {
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(radius / 2, 0.5)));
    for (let step = 0; step <= steps; step++) {
      const share = step / steps;
      this.disc([from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])], radius, value);
    }
  }

  /** Paint all pixels whose centres lie inside one of the polygons. */
  fill(polygons: Point[][]): void {
    for (const polygon of polygons) {
      for (let row = 0; row < this.rows; row++) {
        const crossed = crossings(polygon, row);
        for (let at = 0; at + 1 < crossed.length; at += 2) this.#fillRow(row, crossed[at]!, crossed[at + 1]!);
      }
    }
  }

  #fillRow(row: number, from: number, to: number): void {
    const [first, last] = [Math.max(0, Math.ceil(from)), Math.min(this.columns - 1, Math.floor(to))];
    for (let col = first; col <= last; col++) this.cells[row * this.columns + col] = 1;
  }

  /** Paint what is on in a picture of the same size. */
  take(picture: ImageData): void {
    for (let at = 0; at < this.cells.length; at++) if (picture.data[4 * at]! > 127) this.cells[at] = 1;
  }
}

/** Where the line through the centres of a row crosses a polygon, in order. */
function crossings(polygon: Point[], row: number): number[] {
  return polygon
    .flatMap(([r0, c0], at) => {
      const [r1, c1] = polygon[(at + 1) % polygon.length]!;
      // Half open, so that a corner on the line counts once.
      return r0 <= row === r1 <= row ? [] : [c0 + ((row - r0) / (r1 - r0)) * (c1 - c0)];
    })
    .sort((a, b) => a - b);
}

// Walking with the painted side on the right: east, south, west, north, as [d row, d col] of corners.
const STEPS: Point[] = [
  [0, 1],
  [1, 0],
  [0, -1],
  [-1, 0],
];
// The cells right and left ahead of a corner when walking in each direction, as offsets to the corner.
const RIGHT: Point[] = [
  [0, 0],
  [0, -1],
  [-1, -1],
  [-1, 0],
];
const LEFT: Point[] = [
  [-1, 0],
  [0, 0],
  [0, -1],
  [-1, -1],
];

/** The outer outlines of all pieces, (row, col); holes are filled. */
export function outlines(mask: Painted): Point[][] {
  const seen = new Set<number>();
  const found: Point[][] = [];
  for (let row = 0; row < mask.rows; row++) {
    for (let col = 0; col < mask.columns; col++) {
      const top = mask.has(row, col) && !mask.has(row - 1, col);
      if (!top || seen.has(row * mask.columns + col)) continue;
      const { line, area } = walk(mask, [row, col], seen);
      // Clockwise on the screen is the outside; the edge of a hole runs the other way.
      if (area > 0) found.push(line);
    }
  }
  return found;
}

function walk(mask: Painted, start: Point, seen: Set<number>): { line: Point[]; area: number } {
  let [corner, heading] = [[...start] as Point, 0];
  const line: Point[] = [];
  let area = 0;
  const at = (offsets: Point[], way: number): boolean =>
    mask.has(corner[0] + offsets[way]![0], corner[1] + offsets[way]![1]);
  do {
    if (heading === 0) seen.add(corner[0] * mask.columns + corner[1]);
    corner = [corner[0] + STEPS[heading]![0], corner[1] + STEPS[heading]![1]];
    area += heading === 1 ? corner[1] : heading === 3 ? -corner[1] : 0;
    // Touching corners belong together: turn towards the painted side last.
    const turned = at(LEFT, heading) ? (heading + 3) % 4 : at(RIGHT, heading) ? heading : (heading + 1) % 4;
    // A corner of the grid lies half a pixel before the centre of its cell.
    if (turned !== heading) line.push([corner[0] - 0.5, corner[1] - 0.5]);
    heading = turned;
  } while (corner[0] !== start[0] || corner[1] !== start[1] || heading !== 0);
  return { line, area };
}
