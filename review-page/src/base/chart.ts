/** Curves by uPlot, in the colours of the page. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { el } from "./dom";

export interface Curve {
  label: string;
  colour: string;
  values: (number | null)[];
  /** Marks at the values instead of a line. */
  points?: boolean;
  dashed?: boolean;
  /** Low and high ends of intervals, drawn as bars. */
  low?: (number | null)[];
  high?: (number | null)[];
}

export interface ChartMade {
  x: number[];
  xLabel: string;
  yLabel: string;
  curves: Curve[];
  height: number;
  /** Where a vertical line stands. */
  mark?: () => number | null;
  /** Told where the reader clicked, in units of x. */
  pick?: (x: number) => void;
  yFrom?: number;
}

function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export class Chart {
  readonly element: HTMLElement;
  #plot: uPlot | null = null;
  #watch: ResizeObserver;

  constructor(label: string) {
    this.element = el("div", { class: "chart", attrs: { role: "img", "aria-label": label } });
    this.#watch = new ResizeObserver(() => this.#fit());
    this.#watch.observe(this.element);
  }

  show(made: ChartMade): void {
    this.#plot?.destroy();
    const data = [made.x, ...made.curves.map((curve) => curve.values)] as uPlot.AlignedData;
    this.#plot = new uPlot(options(made, this.element.clientWidth || 300), data, this.element);
  }

  /** Draw again, for a mark that moved. */
  redraw(): void {
    this.#plot?.redraw(false, false);
  }

  dispose(): void {
    this.#watch.disconnect();
    this.#plot?.destroy();
  }

  #fit(): void {
    const width = this.element.clientWidth;
    if (this.#plot && width && width !== this.#plot.width) this.#plot.setSize({ width, height: this.#plot.height });
  }
}

function options(made: ChartMade, width: number): uPlot.Options {
  const font = `${Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.8)}px system-ui, sans-serif`;
  const axis = { stroke: token("--quiet"), font, labelFont: font, grid: { stroke: token("--line"), width: 1 }, ticks: { show: false } };
  return {
    width,
    height: made.height,
    cursor: { points: { size: 6 }, drag: { x: false, y: false } },
    scales: { x: { time: false }, y: made.yFrom === undefined ? {} : { range: (_, low, high) => [Math.min(low ?? 0, made.yFrom!), high ?? 1] } },
    axes: [
      { ...axis, label: made.xLabel, labelSize: 18, size: 26 },
      { ...axis, label: made.yLabel, labelSize: 18, size: 44 },
    ],
    series: [{ label: made.xLabel }, ...made.curves.map(seriesOf)],
    hooks: { draw: [(plot) => drawBars(plot, made), (plot) => drawMark(plot, made)], ready: [(plot) => listen(plot, made)] },
  };
}

function seriesOf(curve: Curve): uPlot.Series {
  return {
    label: curve.label,
    stroke: curve.colour,
    width: curve.points ? 0 : 2,
    spanGaps: true,
    dash: curve.dashed ? [6, 4] : [],
    points: curve.points ? { show: true, size: 9, fill: curve.colour, stroke: curve.colour } : { show: false },
    value: (_, value) => (value === null || value === undefined ? "–" : value.toFixed(3)),
  };
}

function drawBars(plot: uPlot, made: ChartMade): void {
  const { ctx } = plot;
  for (const { low, high, colour } of made.curves) {
    if (!low || !high) continue;
    ctx.strokeStyle = colour;
    ctx.lineWidth = 2 * devicePixelRatio;
    made.x.forEach((x, at) => {
      if (low[at] == null || high[at] == null) return;
      const [left, bottom, top] = [plot.valToPos(x, "x", true), plot.valToPos(low[at]!, "y", true), plot.valToPos(high[at]!, "y", true)];
      const cap = 4 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(left, bottom);
      ctx.lineTo(left, top);
      for (const end of [bottom, top]) {
        ctx.moveTo(left - cap, end);
        ctx.lineTo(left + cap, end);
      }
      ctx.stroke();
    });
  }
}

function drawMark(plot: uPlot, made: ChartMade): void {
  const at = made.mark?.();
  if (at === null || at === undefined) return;
  const x = plot.valToPos(at, "x", true);
  plot.ctx.strokeStyle = token("--accent");
  plot.ctx.lineWidth = devicePixelRatio;
  plot.ctx.beginPath();
  plot.ctx.moveTo(x, plot.bbox.top);
  plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
  plot.ctx.stroke();
}

function listen(plot: uPlot, made: ChartMade): void {
  if (!made.pick) return;
  plot.over.addEventListener("click", () => {
    if (plot.cursor.left !== undefined && plot.cursor.left >= 0) made.pick!(plot.posToVal(plot.cursor.left, "x"));
  });
}
