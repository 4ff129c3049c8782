/** What of the analysis lies over the picture: which masks and maps, how clear, and what their colours mean. */

import { el, fill } from "../base/dom";
import { remember, settings } from "../base/settings";
import { num } from "../base/words";
import { COLOURS, arrivalColour, css } from "../image/colours";
import type { Overlay } from "../image/overlay";
import type { Pane } from "../image/pane";
import type { OpenRun } from "./open-run";
import { LAYERS, type ArrivalRange } from "./results";

interface Shown {
  name: string;
  label: string;
  shown: boolean;
  opacity: number;
}

const DEFAULT_OPACITY: Record<string, number> = { arrival_s: 0.75, tumours: 0.9, targets: 1 };

/** The layers with what this browser remembers of them; targets and notes are drawn, not laid. */
function rememberedLayers(): Shown[] {
  const drawn: [string, string][] = [...LAYERS.map(([name, label]): [string, string] => [name, label]), ["targets", "Targets"]];
  return drawn.map(([name, label]) => ({
    name,
    label,
    shown: !settings.hidden.includes(name),
    opacity: settings.opacities[name] ?? (DEFAULT_OPACITY[name] ?? 0.6),
  }));
}

/** Switches and opacities of the layers; those that this run has not are said to be missing. */
function layerRows(layers: Shown[], missing: Set<string>, changed: (layer: Shown) => void): HTMLElement {
  const keep = (layer: Shown): void => {
    remember({
      hidden: layers.filter((one) => !one.shown).map((one) => one.name),
      opacities: Object.fromEntries(layers.map((one) => [one.name, one.opacity])),
    });
    changed(layer);
  };
  return el("div", { class: "layers" }, ...layers.map((layer) => layerRow(layer, missing.has(layer.name), keep)));
}

function layerRow(layer: Shown, missing: boolean, keep: (layer: Shown) => void): HTMLElement {
  const check = el("input", {
    attrs: { type: "checkbox", checked: layer.shown && !missing, disabled: missing, "data-layer": layer.name },
    on: { change: () => keep(Object.assign(layer, { shown: check.checked })) },
  });
  const range = el("input", {
    attrs: { type: "range", min: 0, max: 100, value: Math.round(layer.opacity * 100), "aria-label": `Opacity of ${layer.label}`, disabled: missing },
    on: { input: () => keep(Object.assign(layer, { opacity: Number(range.value) / 100 })) },
  });
  const swatch = el("span", { class: "swatch", attrs: { "aria-hidden": "true" } });
  swatch.style.background = layer.name === "arrival_s" ? gradient("to right") : layer.name === "targets" ? "#4fd1c5" : css(COLOURS[layer.name]!);
  const label = el("label", {}, check, swatch, missing ? `${layer.label} (none)` : layer.label);
  return el("div", { class: "layer" }, label, range);
}

function gradient(direction: string): string {
  const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => css(arrivalColour(share)));
  return `linear-gradient(${direction}, ${stops.join(", ")})`;
}

/** What the colours of arrival mean, in seconds. */
function arrivalLegend({ low_s, high_s }: ArrivalRange): HTMLElement {
  const strip = el("div", { class: "strip" });
  strip.style.background = gradient("to top");
  const middle = (low_s + high_s) / 2;
  const told = [high_s, middle, low_s].map((value) => el("span", {}, num(value, 1, "s")));
  const label = `Arrival from ${num(low_s, 1)} to ${num(high_s, 1)} seconds`;
  return el("div", { class: "legend", attrs: { role: "img", "aria-label": label } }, strip, el("div", { class: "ticks" }, ...told));
}

/** Apply what is remembered to sheets that came. */
function applyLayers(overlay: Overlay, layers: Shown[]): void {
  for (const sheet of overlay.sheets) {
    const layer = layers.find((one) => one.name === sheet.name);
    if (layer) Object.assign(sheet, { shown: layer.shown, opacity: layer.opacity });
  }
}

/** The layers of the run that is open: their switches in the side, their sheets and legend on the picture. */
export class Layers {
  readonly element = el("div");
  readonly legend = el("div", { class: "legendhost" });
  readonly #layers = rememberedLayers();
  #missing = new Set<string>();
  #range: ArrivalRange | null = null;
  #pane: Pane | null = null;

  constructor(private readonly run: OpenRun) {
    this.#showRows();
  }

  find(name: string): { shown: boolean; opacity: number } {
    return this.#layers.find((one) => one.name === name)!;
  }

  /** Lay the sheets of the result that is shown over a picture. */
  async layOn(pane: Pane): Promise<void> {
    const { results } = this.run;
    this.#pane = pane;
    if (!results) return;
    const found = await Promise.all(LAYERS.map(([name]) => results.sheet(name).catch(() => null)));
    if (this.run.closed || results !== this.run.results) return;
    this.#missing = new Set(LAYERS.filter((_, at) => !found[at]).map(([name]) => name));
    pane.overlay.sheets = found.flatMap((one) => (one ? [one.sheet] : []));
    this.#range = found.find((one) => one?.range)?.range ?? null;
    this.#showRows();
    this.#apply();
    pane.element.dataset.overlay = results.kind;
  }

  switchOne(name: string): void {
    const layer = this.#layers.find((one) => one.name === name)!;
    layer.shown = !layer.shown;
    remember({ hidden: this.#layers.filter((one) => !one.shown).map((one) => one.name) });
    this.#showRows();
    this.#apply();
  }

  switchAll(): void {
    if (!this.#pane) return;
    this.#pane.overlay.hidden = !this.#pane.overlay.hidden;
    this.#apply();
  }

  #showRows(): void {
    fill(this.element, layerRows(this.#layers, this.#missing, () => this.#apply()));
  }

  #apply(): void {
    if (!this.#pane) return;
    applyLayers(this.#pane.overlay, this.#layers);
    const shown = this.find("arrival_s").shown && !this.#pane.overlay.hidden;
    fill(this.legend, shown && this.#range && arrivalLegend(this.#range));
    this.#pane.drawOverlay();
  }
}
