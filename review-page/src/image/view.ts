/** Where a picture stands on the screen: the one geometry that painters, overlays and tools share. */

import type { Point } from "../base/answers";

export interface Size {
  width: number;
  height: number;
}

const LEAST_SHARE = 0.3;
const MOST_SCALE = 40;

export class View {
  /** Screen pixels (CSS) a column. */
  scale = 1;
  /** The place of the picture in the middle of the screen. */
  center: Point = [0, 0];
  screen: Size = { width: 1, height: 1 };

  /** @param aspect Height of a row in widths of a column: slices of a scan are not square. */
  constructor(
    public rows: number,
    public columns: number,
    public aspect = 1,
  ) {
    this.fit();
  }

  get fitScale(): number {
    return Math.min(this.screen.width / this.columns, this.screen.height / (this.rows * this.aspect));
  }

  fit(): void {
    this.scale = this.fitScale;
    this.center = [(this.rows - 1) / 2, (this.columns - 1) / 2];
  }

  /** Take a new size of the screen; what was fitted stays fitted, what was zoomed keeps its zoom. */
  resize(screen: Size): void {
    const zoom = this.scale / this.fitScale;
    this.screen = screen;
    this.scale = this.fitScale * zoom;
  }

  toScreen([row, col]: Point): [x: number, y: number] {
    const x = this.screen.width / 2 + (col - this.center[1]) * this.scale;
    const y = this.screen.height / 2 + (row - this.center[0]) * this.scale * this.aspect;
    return [x, y];
  }

  toPicture(x: number, y: number): Point {
    const row = this.center[0] + (y - this.screen.height / 2) / (this.scale * this.aspect);
    const col = this.center[1] + (x - this.screen.width / 2) / this.scale;
    return [row, col];
  }

  holds([row, col]: Point): boolean {
    return row >= -0.5 && col >= -0.5 && row < this.rows - 0.5 && col < this.columns - 0.5;
  }

  move(dx: number, dy: number): void {
    this.center = [this.center[0] - dy / (this.scale * this.aspect), this.center[1] - dx / this.scale];
  }

  /** Zoom so that the place under (x, y) stays there. */
  zoom(factor: number, x = this.screen.width / 2, y = this.screen.height / 2): void {
    const held = this.toPicture(x, y);
    const least = this.fitScale * LEAST_SHARE;
    this.scale = Math.min(Math.max(this.scale * factor, least), MOST_SCALE);
    const [nowX, nowY] = this.toScreen(held);
    this.move(x - nowX, y - nowY);
  }

  /** Show what another view shows, whatever the size of either screen. */
  follow(other: View): void {
    this.scale = (this.fitScale * other.scale) / other.fitScale;
    const share = [other.center[0] / other.rows, other.center[1] / other.columns] as const;
    this.center = [share[0] * this.rows, share[1] * this.columns];
  }
}
