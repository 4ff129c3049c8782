/** The frames of a run on the screen: which layer, which frame, the mask moved by hand, another run beside them. */

import type { FramesAnswer, LayerName, LinkedCase, Point } from "../base/answers";
import { sentenceOf } from "../base/api";
import { el } from "../base/dom";
import { notify } from "../base/notices";
import { remember, settings } from "../base/settings";
import { angulation, num } from "../base/words";
import { Cine } from "../image/cine";
import { Pane } from "../image/pane";
import { PixelStore, askRest, frameStack, prefetch, type ShiftPx, type Stack } from "../image/stack";
import { CineBar } from "./cine-bar";
import { Companion } from "./companion";
import type { OpenRun } from "./open-run";
import { phaseWords } from "./phases";

export const LAYER_WORDS: [LayerName, string][] = [
  ["raw", "Raw"],
  ["subtracted", "Subtracted"],
  ["corrected", "Corrected"],
];
// Below the three a second at which flashes begin to be a danger.
const FLICKER_MS = 450;
export const SHIFT_STEP_PX = 0.25;

export interface FramesTold {
  /** A click on the picture that no tool has taken. */
  pick(point: Point): void;
  /** Another frame is shown. */
  moved(): void;
  /** Another layer, or another run beside. */
  turned(): void;
}

export class FramesView {
  readonly pane: Pane;
  readonly cine: Cine;
  readonly bar: CineBar;
  layer: LayerName;
  shift: ShiftPx = { row: 0, col: 0 };
  companion: Companion | null = null;
  #info: FramesAnswer;
  #wanted: LayerName;
  #stack!: Stack;
  #unit = "";
  #flicker = 0;

  constructor(
    private readonly run: OpenRun,
    private readonly store: PixelStore,
    info: FramesAnswer,
    private readonly panes: HTMLElement,
    private readonly told: FramesTold,
  ) {
    this.#info = info;
    this.pane = new Pane(`Frames of ${run.answer.row.label}`, info.rows, info.columns, {
      view: () => this.companion?.mirror(),
      grey: () => (this.companion?.mirror(), this.showCorners()),
      wheel: (steps) => this.cine.step(steps),
      click: (point) => this.pane.view.holds(point) && told.pick(point),
    });
    this.cine = new Cine(info.times_s, settings, (number) => this.#show(number), () => this.#moved());
    this.bar = new CineBar(this.cine, info.times_s);
    this.#wanted = settings.layer as LayerName;
    this.layer = this.#nearest(this.#wanted);
  }

  /** Show the first frame; layers that are still being prepared follow when they are there. */
  async open(): Promise<void> {
    this.#take(this.layer);
    await this.cine.go(this.#info.reference_frame ?? 0);
    this.#fetchAll();
    if (!this.#info.coming.length) return;
    const rest = askRest(this.run.api, this.run.id, (info) => this.#arrived(info), this.run.signal);
    void rest.catch((error: unknown) => !this.run.closed && notify(sentenceOf(error), "failed"));
  }

  dispose(): void {
    clearInterval(this.#flicker);
    this.cine.stop();
    this.companion?.dispose();
    this.pane.dispose();
  }

  get info(): FramesAnswer {
    return this.#info;
  }

  get flickers(): boolean {
    return this.#flicker !== 0;
  }

  get time_s(): number {
    return this.#info.times_s[this.cine.number] ?? this.cine.number;
  }

  seek(time_s: number): void {
    const away = this.#info.times_s.map((time, at) => Math.abs((time ?? at) - time_s));
    this.cine.stop();
    void this.cine.go(away.indexOf(Math.min(...away)));
  }

  // --- layers ---

  /** Turn to the layer that the reader asks for. */
  turnTo(layer: LayerName): void {
    this.#stopFlicker();
    this.#wanted = layer;
    remember({ layer });
    if (this.#info.layers[layer]) this.#turn(layer);
    else this.told.turned();
  }

  flicker(): void {
    if (this.flickers) {
      this.#stopFlicker();
      this.#turn("corrected");
      return;
    }
    if (!this.#info.layers.corrected) return notify("The corrected frames are not there yet.", "failed");
    const other: LayerName = this.#info.layers.subtracted ? "subtracted" : "raw";
    this.#flicker = window.setInterval(() => this.#turn(this.layer === "corrected" ? other : "corrected"), FLICKER_MS);
    this.told.turned();
  }

  /** Move the mask of the subtraction by hand: shown at once, kept nowhere. */
  moveMask(row: number, col: number): void {
    if (!this.#info.layers.subtracted) return;
    this.shift = { row, col };
    this.#stopFlicker();
    this.#wanted = "subtracted";
    this.#turn("subtracted");
  }

  invert(): void {
    this.pane.inverted = !this.pane.inverted;
    void this.pane.refresh();
    this.companion?.mirror();
  }

  /** Window, zoom and shift as they were at first. */
  reset(): void {
    const told = this.#info.layers[this.layer]!;
    Object.assign(this.pane, { window: { ...told.window }, inverted: told.dark_is_contrast });
    this.pane.view.fit();
    this.shift = { row: 0, col: 0 };
    this.#turn(this.layer);
    this.companion?.mirror();
  }

  look(point: Point): void {
    const { view } = this.pane;
    view.scale = Math.max(view.scale, view.fitScale * 2);
    view.center = [...point];
    void this.pane.refresh();
    this.companion?.mirror();
  }

  #stopFlicker(): void {
    clearInterval(this.#flicker);
    this.#flicker = 0;
  }

  /** The layer itself, or what comes nearest to it of those that are there. */
  #nearest(layer: LayerName): LayerName {
    const order: LayerName[] = [layer, "corrected", "subtracted", "raw"];
    return order.find((one) => this.#info.layers[one])!;
  }

  #turn(layer: LayerName): void {
    this.#take(layer);
    void this.#show(this.cine.number);
    this.#fetchAll();
    this.companion?.turnTo(layer, this.cine.number);
    this.showCorners();
    this.told.turned();
  }

  #take(layer: LayerName): void {
    const told = this.#info.layers[layer]!;
    this.layer = layer;
    this.pane.values = { slope: told.slope, intercept: told.intercept };
    // A window that the reader chose stays with its layer's unit: raw values are not attenuation.
    if (this.#unit !== told.unit) {
      Object.assign(this.pane, { window: { ...told.window }, inverted: told.dark_is_contrast });
    }
    this.#unit = told.unit;
    this.#stack = frameStack(this.store, this.run.id, this.#info, layer, this.shift);
  }

  #fetchAll(): void {
    const stack = this.#stack;
    void prefetch(stack, this.cine.number, () => !this.run.closed && this.#stack === stack);
  }

  /** Layers have come: turn to the one that the reader wants, or to what is nearer to it than what is shown. */
  #arrived(info: FramesAnswer): void {
    if (info.coming.length === this.#info.coming.length) return;
    this.#info = info;
    const nearer = this.#nearest(this.#wanted);
    // The window of what stood in for it was of that layer's own values.
    if (nearer !== this.layer && !this.flickers) this.#unit = "";
    if (nearer !== this.layer && !this.flickers) this.#turn(nearer);
    else this.told.turned();
    this.showCorners();
    if (!info.coming.length && !info.layers.corrected) notify(info.sentence, "failed");
  }

  async #show(number: number): Promise<void> {
    try {
      await Promise.all([this.pane.show(this.#stack, number), this.companion?.follow(number)]);
    } catch (error) {
      if (!this.run.closed) notify(sentenceOf(error), "failed");
      this.cine.stop();
    }
  }

  #moved(): void {
    this.bar.show();
    this.showCorners();
    this.told.moved();
  }

  // --- words in the corners ---

  showCorners(): void {
    const { number, playing, rate } = this.cine;
    const { times_s, reference_frame, pose_deg, frames, spacing_mm, coming } = this.#info;
    const { center, width } = this.pane.window;
    const digits = width > 20 ? 0 : 3;
    const layer = LAYER_WORDS.find(([name]) => name === this.layer)![1];
    const own = this.run.results?.kind === "mine" ? " · your analysis" : "";
    this.pane.say("top-left", `${layer}${own}`, `Window ${center.toFixed(digits)} / ${width.toFixed(digits)}`);
    this.pane.say("top-right", coming.length ? "Being corrected for motion…" : "");
    const frame = `Frame ${number + 1} of ${frames} · ${num(times_s[number], 2, "s")}${number === reference_frame ? " · reference" : ""}`;
    this.pane.say("bottom-left", angulation(pose_deg), frame, phaseWords(this.run.phases, number));
    this.pane.say("bottom-right", spacing_mm ? "" : "Not calibrated: no millimetres", playing && rate > 1 ? `${rate} frames/s` : "");
  }

  // --- beside ---

  /** Show another run beside this one, or none. */
  async beside(linked: LinkedCase | null): Promise<void> {
    this.companion?.dispose();
    this.companion = null;
    if (linked) {
      const main = { pane: this.pane, info: this.#info, analysis: this.run.results!.analysis };
      const companion = new Companion(this.run.api, this.store, linked, main);
      this.companion = companion;
      this.panes.append(companion.element);
      this.told.turned();
      await companion.open(this.layer);
    }
    this.told.turned();
  }

  /** The picture with what lies beside it inside the same frame. */
  host(...more: Node[]): HTMLElement {
    return el("div", { class: "panehost" }, this.pane.element, ...more);
  }
}
