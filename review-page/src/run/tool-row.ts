/** The row of buttons above the frames: layers, picture, corrections, the run beside, the mask moved by hand. */

import type { LinkedCase } from "../base/answers";
import { button, el, fill, select } from "../base/dom";
import type { Correcting } from "./correcting";
import { LAYER_WORDS, SHIFT_STEP_PX, type FramesView } from "./frames-view";
import type { OpenRun } from "./open-run";

export class ToolRow {
  readonly element = el("div", { class: "row tools", attrs: { role: "toolbar", "aria-label": "Picture" } });

  constructor(
    private readonly run: OpenRun,
    private readonly frames: FramesView,
    private readonly correcting: Correcting,
  ) {}

  show(): void {
    fill(this.element, this.#layers(), this.#picture(), this.#corrections(), this.#beside(), this.#shift());
  }

  #layers(): HTMLElement {
    const { info, layer, flickers } = this.frames;
    const buttons = LAYER_WORDS.filter(([name]) => info.layers[name] || info.coming.includes(name)).map(([name, label], number) => {
      const there = info.layers[name] !== undefined;
      const title = there ? `${label} (${number + 1})` : "Being corrected for motion";
      return button({ label, title, pressed: !flickers && layer === name, disabled: !there, act: () => this.frames.turnTo(name) });
    });
    const flicker = button({
      label: "Flicker",
      title: "Flicker between uncorrected and corrected (F)",
      pressed: flickers,
      disabled: !info.layers.corrected,
      act: () => this.frames.flicker(),
    });
    return group("Shown", ...buttons, flicker);
  }

  #picture(): HTMLElement {
    const { pane } = this.frames;
    return group(
      "Picture",
      button({ label: "Invert", title: "Invert grey (I)", act: () => this.frames.invert() }),
      button({ label: "Zoom in", glyph: "+", act: () => pane.zoomBy(1.25) }),
      button({ label: "Zoom out", glyph: "−", act: () => pane.zoomBy(0.8) }),
      button({ label: "Reset", title: "Reset window, zoom and shift (R)", act: () => this.frames.reset() }),
      this.#tool("measure", "Measure", "Measure a distance (M)", () => this.correcting.measure()),
    );
  }

  #corrections(): HTMLElement {
    const { correcting } = this;
    return group(
      "Correct",
      this.#tool("feeder", "Add feeder", "Add a feeder by one click on its vessel (C)", () => correcting.addFeeder()),
      this.#tool("target", "Move target", "Move a target (T)", () => correcting.moveTarget()),
      this.#tool("brush", "Brush", "Paint a blush (B)", () => correcting.draw("brush")),
      this.#tool("polygon", "Polygon", "Outline a blush (P)", () => correcting.draw("polygon")),
    );
  }

  /** A button that takes up a tool, or puts it down. */
  #tool(name: string, label: string, title: string, take: () => void): HTMLElement {
    const held = this.frames.pane.tool?.name === name;
    return button({ label, title, pressed: held, act: () => (held ? this.correcting.use(null) : take()) });
  }

  #beside(): HTMLElement | null {
    const linked = this.run.answer.linked.filter((one) => one.id);
    if (!linked.length) return null;
    const { companion } = this.frames;
    const shown = companion ? String(linked.findIndex((one) => one.id === companion.linked.id)) : "";
    const options = linked.map((one, at): [string, string] => [String(at), linkWords(one, linked)]);
    const choose = (value: string): void => void this.frames.beside(value === "" ? null : linked[Number(value)]!);
    return select("Beside", [["", "Nothing"], ...options], shown, choose);
  }

  /** Moving the mask by hand: shown at once, kept nowhere, and so it is said. */
  #shift(): HTMLElement | null {
    const { layer, flickers, shift } = this.frames;
    if (layer !== "subtracted" || flickers) return null;
    const field = (label: string, value: number, set: (value: number) => void): HTMLElement => {
      const attrs = { type: "number", step: SHIFT_STEP_PX, min: -32, max: 32, value, "aria-label": `Mask shift, ${label}` };
      const input = el("input", { attrs, on: { change: () => set(Math.min(Math.max(Number(input.value) || 0, -32), 32)) } });
      return el("label", { class: "field" }, el("span", {}, label), input);
    };
    const title = "A preview: the shift is not stored and the analysis does not use it. Alt with the arrow keys moves it as well.";
    return el(
      "div",
      { class: "group shift", attrs: { role: "group", "aria-label": "Pixel shift", title } },
      field("mask down, px", shift.row, (value) => this.frames.moveMask(value, shift.col)),
      field("right, px", shift.col, (value) => this.frames.moveMask(shift.row, value)),
    );
  }
}

function group(label: string, ...content: Node[]): HTMLElement {
  return el("div", { class: "group", attrs: { role: "group", "aria-label": label } }, ...content);
}

function linkWords(linked: LinkedCase, all: LinkedCase[]): string {
  const words = { before: "Run before embolisation", after: "Run after embolisation", projection: "Other projection" }[linked.relation];
  const same = all.filter((one) => one.relation === linked.relation);
  return same.length > 1 ? `${words} ${same.indexOf(linked) + 1}` : words;
}
