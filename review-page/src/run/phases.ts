/** The phases of a run: what the analysis says, what the reader made of it, and the form to change them. */

import type { Analysis, Edit, EditWords, PhaseName } from "../base/answers";
import { button, el, fill } from "../base/dom";

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
  #shown = "";

  constructor(
    private readonly frames: number,
    private readonly frame: () => number,
    private readonly add: (words: EditWords) => void,
  ) {
    this.element.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Show the phases; what is being typed stays until they are others. */
  show(phases: Phases): void {
    const told = JSON.stringify(phases);
    if (told === this.#shown) return;
    this.#shown = told;
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

/** The phases as parts of a bar below the frames. */
export function phaseParts(phases: Phases, frames: number): HTMLElement[] {
  return PHASES.flatMap(([name]) => {
    const range = phases[name];
    if (!range) return [];
    const part = el("span", { class: `phasepart ${name}` });
    part.style.left = `${(100 * range[0]) / frames}%`;
    part.style.width = `${(100 * (range[1] - range[0] + 1)) / frames}%`;
    return [part];
  });
}

/** In words, which phase a frame is in. */
export function phaseWords(phases: Phases, number: number): string {
  const found = PHASES.find(([name]) => phases[name] && phases[name]![0] <= number && number <= phases[name]![1]);
  return found ? `${found[1]}${found[0] === "pre_contrast" ? "" : " phase"}` : "";
}
