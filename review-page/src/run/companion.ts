/** A second run beside the first: before or after embolisation, or another projection of the same injection. */

import type { Analysis, CaseAnswer, FramesAnswer, LayerName, LinkedCase } from "../base/answers";
import { sentenceOf, type Api } from "../base/api";
import { el } from "../base/dom";
import { angulation, num } from "../base/words";
import { Pane } from "../image/pane";
import { askFrames, askRest, frameStack, type PixelStore, type Stack } from "../image/stack";
import { RunResults } from "./results";

const NAMES = { before: "Before embolisation", after: "After embolisation", projection: "Other projection" };

export class Companion {
  readonly element = el("div", { class: "panehost" });
  #pane: Pane | null = null;
  #info: FramesAnswer | null = null;
  #analysis: Analysis | null = null;
  #stack: Stack | null = null;
  #wanted: LayerName = "corrected";
  #closed = new AbortController();

  constructor(
    private readonly api: Api,
    private readonly store: PixelStore,
    readonly linked: LinkedCase,
    private readonly main: { pane: Pane; info: FramesAnswer; analysis: Analysis },
  ) {}

  async open(layer: LayerName): Promise<void> {
    const { signal } = this.#closed;
    const words = el("p", { class: "waiting", attrs: { role: "status" } }, "Opening the other run…");
    this.element.replaceChildren(words);
    try {
      const id = this.linked.id!;
      const answer = await this.api.get<CaseAnswer>(`/cases/${id}`, {}, signal);
      const results = new RunResults(this.api, answer, "original");
      await results.load(signal);
      const info = await askFrames(this.api, id, (told) => (words.textContent = told.sentence || "Ready"), signal);
      if (!info) return;
      [this.#info, this.#analysis] = [info, results.analysis];
      await this.#start(results, info, layer);
      if (info.coming.length) await askRest(this.api, id, (told) => this.#arrived(told), signal);
    } catch (error) {
      if (!signal.aborted) words.textContent = sentenceOf(error);
    }
  }

  /** Show the frame of the same moment: of the same injection by the clock, else counted from arterial filling. */
  async follow(number: number): Promise<void> {
    if (!this.#pane || !this.#stack) return;
    const at = this.#frameFor(number);
    await this.#pane.show(this.#stack, at);
    const frames = `frame ${at + 1} of ${this.#info!.frames}, ${num(this.#info!.times_s[at], 2, "s")}`;
    this.#pane.say("bottom-left", angulation(this.#info!.pose_deg), frames);
  }

  turnTo(layer: LayerName, number: number): void {
    this.#wanted = layer;
    if (!this.#info || !this.#pane) return;
    const order: LayerName[] = [layer, "corrected", "subtracted", "raw"];
    const known = order.find((one) => this.#info!.layers[one])!;
    const told = this.#info.layers[known]!;
    this.#pane.values = { slope: told.slope, intercept: told.intercept };
    // The same layer is shown in the same window; what stands in for one that is not there has values of its own.
    const own = known === layer ? this.main.pane : { window: told.window, inverted: told.dark_is_contrast };
    this.#pane.window = { ...own.window };
    this.#pane.inverted = own.inverted;
    this.#stack = frameStack(this.store, this.linked.id!, this.#info, known, { row: 0, col: 0 });
    void this.follow(number);
  }

  /** The same window, and of the same projection the same place, as the first picture. */
  mirror(): void {
    if (!this.#pane) return;
    const { pane } = this.main;
    if (this.#info?.layers[this.#wanted]) Object.assign(this.#pane, { window: { ...pane.window }, inverted: pane.inverted });
    if (this.linked.relation !== "projection") this.#pane.view.follow(pane.view);
    void this.#pane.refresh();
  }

  #arrived(info: FramesAnswer): void {
    const missed = this.#info && !this.#info.layers[this.#wanted];
    this.#info = info;
    if (missed) this.turnTo(this.#wanted, this.main.pane.number);
  }

  dispose(): void {
    this.#closed.abort();
    this.#pane?.dispose();
    this.element.remove();
  }

  async #start(results: RunResults, info: FramesAnswer, layer: LayerName): Promise<void> {
    const name = NAMES[this.linked.relation];
    const pane = new Pane(name, info.rows, info.columns, {});
    this.#pane = pane;
    this.element.replaceChildren(pane.element);
    pane.say("top-left", name, results.answer.row.label);
    const sheet = await results.sheet("tumours");
    if (sheet) pane.overlay.sheets = [sheet.sheet];
    pane.overlay.drawings.push((pen) => {
      for (const tumour of results.analysis.tumours) {
        pen.label(tumour.centroid, tumour.id, "#ffcd46");
        for (const target of tumour.targets) pen.ring([target.row, target.col], 7, "#4fd1c5");
      }
    });
    this.turnTo(layer, this.main.pane.number);
    this.mirror();
  }

  #frameFor(number: number): number {
    const time = this.main.info.times_s[number];
    if (time == null) return Math.min(number, this.#info!.frames - 1);
    const later = this.linked.relation === "projection" ? 0 : this.#arterial_s(this.#info!, this.#analysis!) - this.#arterial_s(this.main.info, this.main.analysis);
    const away = this.#info!.times_s.map((one) => Math.abs((one ?? Infinity) - time - later));
    return away.indexOf(Math.min(...away));
  }

  #arterial_s(info: FramesAnswer, analysis: Analysis): number {
    return info.times_s[analysis.phases.arterial?.[0] ?? 0] ?? 0;
  }
}
