/** The smaller panels beside the picture of a run: layers, phases, notes, edits, what the result says of itself. */

import type { Analysis, CaseAnswer, CorrectionsAnswer, Edit, PhaseName, Point, EditWords } from "../base/answers";
import { addressOf } from "../base/api";
import { button, el, fill } from "../base/dom";
import { remember, settings } from "../base/settings";
import { num, plain } from "../base/words";
import { COLOURS, arrivalColour, css } from "../image/colours";
import type { Overlay } from "../image/overlay";
import { pointOf, wordsOf } from "./readings";
import { LAYERS, type ArrivalRange } from "./results";

/** A part of the side that opens and closes. */
export function section(title: string, open: boolean, ...content: (Node | false)[]): HTMLDetailsElement {
  return el("details", { class: "part", attrs: { open } }, el("summary", {}, el("h2", {}, title)), ...content);
}

// --- layers ---

export interface Shown {
  name: string;
  label: string;
  shown: boolean;
  opacity: number;
}

const DEFAULT_OPACITY: Record<string, number> = { arrival_s: 0.75, tumours: 0.9, targets: 1 };

/** The layers with what this browser remembers of them; targets and notes are drawn, not laid. */
export function rememberedLayers(): Shown[] {
  const drawn: [string, string][] = [...LAYERS.map(([name, label]): [string, string] => [name, label]), ["targets", "Targets"]];
  return drawn.map(([name, label]) => ({
    name,
    label,
    shown: !settings.hidden.includes(name),
    opacity: settings.opacities[name] ?? (DEFAULT_OPACITY[name] ?? 0.6),
  }));
}

/** Switches and opacities of the layers; those that this run has not are said to be missing. */
export function layerRows(layers: Shown[], missing: Set<string>, changed: (layer: Shown) => void): HTMLElement {
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
export function arrivalLegend({ low_s, high_s }: ArrivalRange): HTMLElement {
  const strip = el("div", { class: "strip" });
  strip.style.background = gradient("to top");
  const middle = (low_s + high_s) / 2;
  const told = [high_s, middle, low_s].map((value) => el("span", {}, num(value, 1, "s")));
  const label = `Arrival from ${num(low_s, 1)} to ${num(high_s, 1)} seconds`;
  return el("div", { class: "legend", attrs: { role: "img", "aria-label": label } }, strip, el("div", { class: "ticks" }, ...told));
}

/** Apply what is remembered to sheets that came. */
export function applyLayers(overlay: Overlay, layers: Shown[]): void {
  for (const sheet of overlay.sheets) {
    const layer = layers.find((one) => one.name === sheet.name);
    if (layer) Object.assign(sheet, { shown: layer.shown, opacity: layer.opacity });
  }
}

// --- phases ---

export const PHASES: [name: PhaseName, label: string][] = [
  ["pre_contrast", "Before contrast"],
  ["arterial", "Arterial"],
  ["parenchymal", "Parenchymal"],
  ["venous", "Venous"],
];

export type Phases = Partial<Record<PhaseName, [number, number] | null>>;

/** The phases of the analysis with the reader's last word on them. */
export function phasesOf(analysis: Analysis, edits: Edit[]): Phases {
  const found: Phases = { ...analysis.phases };
  for (const edit of edits) {
    if (edit.kind !== "set_phase") continue;
    for (const [name] of PHASES) {
      if (edit[name]) found[name] = edit[name];
      else if (edit.not_seen.includes(name)) found[name] = null;
    }
  }
  return found;
}

export class PhaseForm {
  readonly element = el("form", { class: "phases", attrs: { "aria-label": "Phases" } });

  constructor(
    private readonly frames: number,
    private readonly frame: () => number,
    private readonly add: (words: EditWords) => void,
  ) {
    this.element.addEventListener("submit", (event) => event.preventDefault());
  }

  show(phases: Phases): void {
    const fields = PHASES.map(([name, label]) => this.#row(name, label, phases[name] ?? null));
    const set = button({ label: "Set phases", act: () => this.#set(fields) });
    const words = el("p", { class: "quiet" }, "First and last frame, counted from 1. Empty: not seen. “Now” takes the frame that is shown.");
    fill(this.element, words, ...fields.map((one) => one.row), el("div", { class: "row" }, set));
  }

  #row(name: PhaseName, label: string, range: [number, number] | null): { name: PhaseName; row: HTMLElement; read: () => [number, number] | null } {
    const field = (which: string, value: number | undefined): HTMLInputElement =>
      el("input", { attrs: { type: "number", min: 1, max: this.frames, value: value === undefined ? "" : value + 1, "aria-label": `${label}, ${which} frame` } });
    const [first, last] = [field("first", range?.[0]), field("last", range?.[1])];
    const now = (input: HTMLInputElement, which: string): HTMLElement =>
      button({ label: `Now: ${which} frame of ${label}`, glyph: "Now", class: "small", act: () => (input.value = String(this.frame() + 1)) });
    const row = el("div", { class: "phase" }, el("span", { class: `phasename ${name}` }, label), first, now(first, "first"), last, now(last, "last"));
    const read = (): [number, number] | null => (first.value && last.value ? [Number(first.value) - 1, Number(last.value) - 1] : null);
    return { name, row, read };
  }

  #set(fields: { name: PhaseName; read: () => [number, number] | null }[]): void {
    const told = fields.map(({ name, read }) => [name, read()] as const);
    const given = Object.fromEntries(told.filter(([, range]) => range)) as Partial<Record<PhaseName, [number, number]>>;
    const not_seen = told.filter(([name, range]) => !range && name !== "arterial").map(([name]) => name);
    this.add({ kind: "set_phase", not_seen, ...given });
  }
}

// --- notes and edits ---

export class NoteForm {
  readonly element = el("form", { class: "note", attrs: { "aria-label": "Note" } });
  readonly #text: HTMLTextAreaElement;
  readonly #place = el("span", { class: "quiet" });
  #point: Point | null = null;
  #filled = false;

  constructor(
    private readonly type: (text: string) => void,
    private readonly add: (words: EditWords) => void,
    pick: (() => void) | null,
  ) {
    this.#text = el("textarea", {
      attrs: { rows: 3, maxlength: 4000, "aria-label": "Note", placeholder: "What you see. Kept as you type." },
      on: { input: () => this.type(this.#text.value) },
    });
    const pickButton = pick && button({ label: "Mark a place", class: "small", act: pick });
    const keep = button({ label: "Add note", class: "small primary", act: () => this.#keep() });
    this.element.addEventListener("submit", (event) => event.preventDefault());
    this.element.append(this.#text, el("div", { class: "row" }, pickButton, this.#place, el("span", { class: "gap" }), keep));
  }

  /** Take up what was typed before, once. */
  resume(draft: string): void {
    if (this.#filled) return;
    this.#filled = true;
    if (!this.#text.value) this.#text.value = draft;
  }

  at(point: Point): void {
    this.#point = point;
    this.#place.textContent = `at row ${point[0].toFixed(0)}, column ${point[1].toFixed(0)}`;
    this.#text.focus();
  }

  #keep(): void {
    const text = this.#text.value.trim();
    if (!text) return;
    this.add(this.#point ? { kind: "note", text, point: this.#point } : { kind: "note", text });
    this.#text.value = "";
    this.type("");
    this.#point = null;
    this.#place.textContent = "";
  }
}

/** All edits of the reader, the last one first. */
export function editList(edits: Edit[], takeBack: (edit: Edit) => void, look: (point: Point) => void): HTMLElement {
  if (!edits.length) return el("p", { class: "quiet" }, "You have not changed anything yet.");
  const rows = edits.toReversed().map((edit) => {
    const point = pointOf(edit);
    return el(
      "li",
      { attrs: { "data-edit": edit.id } },
      el("span", { class: "words" }, wordsOf(edit)),
      point && button({ label: "Show its place", glyph: "⌖", class: "small", act: () => look(point) }),
      button({ label: `Take back: ${wordsOf(edit)}`, glyph: "×", class: "small", act: () => takeBack(edit) }),
    );
  });
  return el("ul", { class: "edits" }, ...rows);
}

// --- the result itself ---

/** Quality, software and files of the result. */
export function about(answer: CaseAnswer, analysis: Analysis | null, objects: string[], result: string): HTMLElement {
  const quality = analysis?.quality_sentences ?? answer.quality_sentences;
  const residual = analysis?.subtraction;
  const links = objects.map((name) =>
    el("li", {}, el("a", { attrs: { href: addressOf(`/cases/${answer.row.id}/objects/${name}`, { result }), download: true } }, `DICOM ${name}`)),
  );
  return el(
    "div",
    {},
    el("ul", { class: "quality" }, ...quality.map((sentence) => el("li", {}, sentence))),
    !quality.length && el("p", { class: "quiet" }, "The analysis raised no flag."),
    residual && el("p", { class: "quiet" }, `Residual motion ${num(residual.residual_before, 3)} before, ${num(residual.residual_after, 3)} after correction.`),
    analysis?.image.calibration ? el("p", { class: "quiet" }, `Calibration: ${analysis.image.calibration}.`) : null,
    answer.software ? el("p", { class: "quiet" }, `Analysed by version ${answer.software}.`) : null,
    links.length > 0 && el("ul", { class: "exports" }, ...links),
  );
}

/** Where a reader's own words can be taken from. */
export function exportLinks(more: Node[] = []): HTMLElement {
  const link = (path: string, name: string, label: string): HTMLElement =>
    el("li", {}, el("a", { attrs: { href: addressOf(path), download: name } }, label));
  return el(
    "ul",
    { class: "exports" },
    link("/export/corrections.zip", "corrections.zip", "My corrections of all cases (for angio run --corrections)"),
    link("/export/edits.csv", "edits.csv", "My edits as a table (CSV)"),
    ...more,
  );
}

export function saidBy(answer: CorrectionsAnswer | null): string {
  return answer ? `Reader: ${answer.reader}` : "";
}

export { plain };
