/** What is known of one run: documents, masks and maps of the analysis that is shown, each fetched once. */

import type { Analysis, CaseAnswer, CurveAnswer, ResultKind } from "../base/answers";
import type { Api } from "../base/api";
import { COLOURS, arrivalTable } from "../image/colours";
import { asCanvas, maskSheet, readPicture, type Sheet } from "../image/overlay";

export interface ArrivalRange {
  low_s: number;
  high_s: number;
}

/** Layers in the order in which they lie over each other, and what they are called. */
export const LAYERS: [name: string, label: string, outlined: boolean][] = [
  ["arrival_s", "Arrival time", false],
  ["artery", "Arteries", false],
  ["vein", "Veins", false],
  ["catheter", "Catheter", false],
  ["tumours", "Blush", true],
  ["feeders", "Feeders", false],
  ["shunts", "Shunts", true],
];

export class RunResults {
  analysis!: Analysis;
  curves: CurveAnswer | null = null;
  #masks = new Map<string, Promise<ImageData>>();

  constructor(
    private readonly api: Api,
    readonly answer: CaseAnswer,
    readonly kind: ResultKind,
  ) {}

  get id(): string {
    return this.answer.row.id;
  }

  async load(signal: AbortSignal): Promise<void> {
    this.analysis = await this.api.get<Analysis>(`/cases/${this.id}/analysis`, { result: this.kind }, signal);
    // An analysis may stand without curves; the picture does not wait for them to fail.
    this.curves = await this.api
      .get<CurveAnswer>(`/cases/${this.id}/curves`, { result: this.kind }, signal)
      .catch(() => null);
  }

  mask(name: string): Promise<ImageData> {
    const found = this.#masks.get(name) ?? this.#askMask(name);
    this.#masks.set(name, found);
    return found;
  }

  /** The sheet of a layer, or null where this run has none. */
  async sheet(name: string): Promise<{ sheet: Sheet; range?: ArrivalRange } | null> {
    const layer = LAYERS.find((one) => one[0] === name)!;
    if (name === "arrival_s") return this.answer.maps.includes(name) ? this.#arrival() : null;
    if (!this.#has(name)) return null;
    const picture = maskSheet(await this.mask(name), COLOURS[name]!, layer[2]);
    return { sheet: { name, picture, opacity: 0.6, shown: true } };
  }

  /** Whether this analysis has a mask: the reader's own may have no feeder left where the original has some. */
  #has(name: string): boolean {
    const { tumours, shunts } = this.analysis;
    if (name === "tumours") return tumours.length > 0;
    if (name === "feeders") return tumours.some((one) => one.feeders.length > 0);
    if (name === "shunts") return shunts.length > 0;
    return this.answer.masks.includes(name);
  }

  async #askMask(name: string): Promise<ImageData> {
    return readPicture(await this.api.fetch(`/cases/${this.id}/masks/${name}`, { result: this.kind }));
  }

  /** The map of arrival over vessels and blush: elsewhere it is noise. Its colours run over what is shown. */
  async #arrival(): Promise<{ sheet: Sheet; range: ArrivalRange }> {
    const query = { result: this.kind, raw: true };
    const answer = await this.api.fetch(`/cases/${this.id}/maps/arrival_s`, query);
    const stored = new Uint16Array(await answer.arrayBuffer());
    const told = (name: string): number => Number(answer.headers.get(name));
    const names = ["artery", "vein", "tumours"].filter((name) => this.#has(name));
    const masks = await Promise.all(names.map((name) => this.mask(name)));
    // 0 is undefined.
    const shown = stored.map((value, at) => (masks.some((mask) => mask.data[4 * at]! > 127) ? value : 0));
    const [low, high] = ends(shown.filter((value) => value > 0));
    const image = new ImageData(told("X-Columns"), told("X-Rows"));
    const table = arrivalTable();
    shown.forEach((value, at) => {
      const level = Math.round((255 * (Math.min(Math.max(value, low), high) - low)) / (high - low));
      if (value > 0) image.data.set([...table[level]!, 255], 4 * at);
    });
    const sheet = { name: "arrival_s", picture: asCanvas(image), opacity: 0.7, shown: true };
    const seconds = (value: number): number => told("X-Slope") * value + told("X-Intercept");
    return { sheet, range: { low_s: seconds(low), high_s: seconds(high) } };
  }
}

/** Where all but two hundredths of the values lie, at both ends. */
function ends(values: Uint16Array): [low: number, high: number] {
  if (!values.length) return [0, 1];
  const sorted = values.toSorted();
  const low = sorted[Math.floor(0.02 * sorted.length)]!;
  return [low, Math.max(sorted[Math.floor(0.98 * (sorted.length - 1))]!, low + 1)];
}
