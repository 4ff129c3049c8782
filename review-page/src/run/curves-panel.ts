/** Time-density curves: of artery, tumours and liver, at the places clicked, over the feeder that is chosen. */

import type { CurveAnswer, Point } from "../base/answers";
import { Refusal, sentenceOf, type Api } from "../base/api";
import { Chart, type Curve } from "../base/chart";
import { button, el } from "../base/dom";

const STORED: Record<string, string> = { artery: "#ff6b5e", liver: "#9aa7b4" };
const TUMOURS = ["#ffcd46", "#ffa04d", "#f27fb2", "#c9e265"];
const PICKED = "#ffffff";
const FEEDER = "#50e1a0";
const RADIUS_PX = 2;
const HEIGHT_REM = 9;

export class CurvesPanel {
  readonly element: HTMLElement;
  readonly #chart = new Chart("Time-density curves");
  readonly #words = el("span", { class: "quiet", attrs: { role: "status" } });
  #stored: CurveAnswer | null = null;
  #picked: CurveAnswer | null = null;
  #feeder: CurveAnswer | null = null;
  #asked = 0;

  constructor(
    private readonly api: Api,
    private readonly caseId: string,
    private readonly frameTime: () => number | null,
    private readonly seek: (time_s: number) => void,
  ) {
    const clear = button({ label: "Clear place", class: "small", act: () => this.#setPicked(null) });
    this.element = el(
      "section",
      { class: "curves", attrs: { "aria-label": "Curves" } },
      el("div", { class: "row" }, el("h2", {}, "Curves"), this.#words, el("span", { class: "gap" }), clear),
      this.#chart.element,
    );
  }

  show(stored: CurveAnswer | null): void {
    this.#stored = stored;
    this.#draw();
  }

  say(words: string): void {
    this.#words.textContent = words;
  }

  /** The frame that is shown has changed. */
  mark(): void {
    this.#chart.redraw();
  }

  /** The curve at a place of the picture; a later click overtakes an earlier one. */
  async pick([row, col]: Point): Promise<void> {
    const asked = ++this.#asked;
    this.#words.textContent = "Reading the curve…";
    try {
      const query = { row: row.toFixed(1), col: col.toFixed(1), radius: RADIUS_PX };
      const found = await this.api.get<CurveAnswer>(`/cases/${this.caseId}/curve`, query);
      if (asked === this.#asked) this.#setPicked(found);
    } catch (error) {
      this.#words.textContent = sentenceOf(error);
    }
  }

  /** The curve over a structure, or none. */
  async structure(name: string | null, result: string): Promise<void> {
    try {
      const found = name && (await this.api.get<CurveAnswer>(`/cases/${this.caseId}/structure-curves/${name}`, { result }));
      this.#feeder = found || null;
      this.#draw();
    } catch (error) {
      // Frames may be unavailable: the list of feeders says more than a curve that is missing.
      if (!(error instanceof Refusal)) throw error;
    }
  }

  dispose(): void {
    this.#chart.dispose();
  }

  #setPicked(found: CurveAnswer | null): void {
    this.#picked = found;
    this.#words.textContent = found?.pixels ? `Place ${found.curves[0]?.label ?? ""}, mean of ${found.pixels} pixels` : "";
    this.#draw();
  }

  #draw(): void {
    const base = this.#stored ?? this.#picked ?? this.#feeder;
    if (!base) return;
    let tumour = 0;
    const curves: Curve[] = (this.#stored?.curves ?? []).map(({ label, values }) => ({
      label,
      values,
      colour: STORED[label] ?? TUMOURS[tumour++ % TUMOURS.length]!,
    }));
    for (const one of this.#feeder?.curves ?? []) curves.push({ ...one, colour: FEEDER, dashed: true });
    for (const one of this.#picked?.curves ?? []) curves.push({ ...one, colour: PICKED });
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.#chart.show({
      x: base.times_s.map((time, at) => time ?? at),
      xLabel: base.times_s.some((time) => time === null) ? "Frame" : "Time, s",
      yLabel: base.unit.startsWith("attenuation") ? "Attenuation" : base.unit,
      curves,
      height: HEIGHT_REM * rem,
      mark: this.frameTime,
      pick: this.seek,
    });
  }
}
