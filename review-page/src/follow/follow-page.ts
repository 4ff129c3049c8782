/** All follow-ups of one patient: dates side by side, retention and response, and the reader's word on them. */

import type { CaseAnswer, Edit, FollowUpAnswer, Lesion, ResultKind } from "../base/answers";
import { addressOf, type Api, type Query } from "../base/api";
import { Chart } from "../base/chart";
import { button, el, fill } from "../base/dom";
import { setKeys, type Key } from "../base/keys";
import { notify } from "../base/notices";
import { day } from "../base/words";
import { AnalyseAgain } from "../case/analyse-again";
import { Corrections } from "../case/corrections";
import { NoteForm, caseTitle, editList, exportLinks, journalButtons, section } from "../case/panels";
import { SaveBar } from "../case/save-bar";
import { askPrepared } from "../image/stack";
import { goToNeighbour } from "../worklist/worklist";
import { kineticsWords, lesionColour, oilTable, responseTable, showRetention } from "./retention";
import { ScansView } from "./scans-view";

export class FollowPage {
  readonly element = el("main", { class: "follow", attrs: { "aria-label": "Follow-up" } });
  readonly #closed = new AbortController();
  readonly #corrections: Corrections;
  readonly #saveBar: SaveBar;
  readonly #notes: NoteForm;
  readonly #again: AnalyseAgain;
  #answer!: CaseAnswer;
  #told!: FollowUpAnswer;
  #result: ResultKind = "original";
  #scans: ScansView | null = null;
  #chart: Chart | null = null;
  readonly #parts = {
    scans: el("div", { class: "scans" }),
    films: el("div", { class: "films" }),
    measured: el("section", { class: "measured" }),
    lesions: el("div"),
    edits: el("div"),
    quality: el("div"),
  };

  constructor(
    private readonly api: Api,
    private readonly id: string,
    private readonly go: (hash: string) => void,
  ) {
    this.#corrections = new Corrections(api, id, () => this.#showReadings(), (sentence) => notify(sentence, "failed"));
    this.#saveBar = new SaveBar(this.#corrections);
    this.#notes = new NoteForm((text) => this.#corrections.type(text), (words) => this.#corrections.add(words), null);
    this.#again = new AnalyseAgain(api, id, this.#corrections, (kind) => this.#turnTo(kind), this.#closed.signal);
  }

  // --- opening ---

  async start(answer: CaseAnswer): Promise<void> {
    this.#answer = answer;
    await this.#ask("original");
    this.#lay();
    this.#showMeasured();
    await this.#corrections.load();
    await this.#showScans();
  }

  dispose(): void {
    this.#closed.abort();
    this.#corrections.close();
    this.#chart?.dispose();
    this.#scans?.dispose();
  }

  get #lesions(): Lesion[] {
    return this.#told.lipiodol.lesions;
  }

  get #query(): Query {
    return this.#result === "original" ? {} : { result: this.#result };
  }

  async #ask(kind: ResultKind): Promise<void> {
    this.#result = kind;
    this.element.dataset.result = kind;
    this.#told = await this.api.get<FollowUpAnswer>(`/follow-ups/${this.id}`, this.#query, this.#closed.signal);
  }

  /** Show the other of the two results. */
  async #turnTo(kind: ResultKind): Promise<void> {
    this.#answer = await this.api.get<CaseAnswer>(`/cases/${this.id}`, {}, this.#closed.signal);
    await this.#ask(kind);
    this.#showMeasured();
    await this.#showScans();
  }

  async #showScans(): Promise<void> {
    const { signal } = this.#closed;
    this.#scans?.dispose();
    this.#scans = null;
    this.#showStored(this.#told.scans);
    const kind = this.#result;
    const tell = (told: FollowUpAnswer): unknown => told.state !== "ready" && this.#wait(told.sentence || "The scans are being prepared…");
    const ready = await askPrepared<FollowUpAnswer>(this.api, addressed(`/follow-ups/${this.id}`, kind), tell, signal);
    if (!ready || kind !== this.#result) return;
    this.#answer.source.available = true;
    this.#told = ready;
    this.#again.show(this.#answer, kind);
    this.#showStored(ready.scans.filter((scan) => scan.alignment.shown === "none"));
    if (ready.scans.every((scan) => scan.alignment.shown === "none")) return this.#wait("No scan could be cut on one grid: stored pictures are shown.");
    const from = { id: this.id, query: this.#query };
    this.#scans = new ScansView(this.api, ready, from, this.#corrections, (position) => (this.element.dataset.position = String(position)));
    fill(this.#parts.scans, this.#scans.element);
    this.#parts.measured.after(this.#parts.films);
    setKeys(this.#keys());
  }

  /** What there is in the place of the slices: a line, and the stored pictures right below it. */
  #wait(sentence: string): void {
    fill(this.#parts.scans, el("p", { class: "instead", attrs: { role: "status" } }, sentence));
    this.#parts.scans.after(this.#parts.films);
  }

  // --- layout ---

  #lay(): void {
    const { scans, films, measured, lesions, edits, quality } = this.#parts;
    const words = `Follow-up · ${this.#told.scans.length} scans`;
    const title = caseTitle(this.#answer.row, words, (step) => this.#neighbour(step), () => this.go("#/"), this.#saveBar.element);
    this.#saveBar.show();
    const regions = el("li", {}, el("a", { attrs: { href: addressOf(`/cases/${this.id}/regions.zip`), download: "regions.zip" } }, "My outlines (NIfTI, for angio run --roi)"));
    const side = el(
      "aside",
      { class: "side", attrs: { "aria-label": "Corrections" } },
      section("Lesions", true, lesions),
      section("Note", true, this.#notes.element),
      section("Your changes", true, edits, this.#again.element, journalButtons(this.api, this.id)),
      section("About this result", false, quality, exportLinks([regions])),
    );
    this.element.append(title, el("div", { class: "body" }, el("div", { class: "stage" }, scans, measured, films), side));
    setKeys(this.#keys());
  }

  /** What was measured, in the result that is shown. */
  #showMeasured(): void {
    const { measured, lesions, quality } = this.#parts;
    this.#chart?.dispose();
    this.#chart = new Chart("Retention of the oil over time");
    const kinetics = this.#lesions.map((one) => el("p", { class: "quiet" }, kineticsWords(one)));
    fill(
      measured,
      el("div", { class: "retention" }, el("h2", {}, "Retention"), this.#chart.element, ...kinetics),
      el("div", { class: "tables" }, responseTable(this.#told.response), oilTable(this.#lesions)),
    );
    if (!showRetention(this.#chart, this.#lesions)) fill(this.#chart.element, el("p", { class: "quiet" }, "No retention could be told: there are too few scans with oil."));
    fill(lesions, this.#lesionList());
    const sentences = this.#told.lipiodol.quality_sentences ?? [];
    fill(quality, el("ul", { class: "quality" }, ...sentences.map((one) => el("li", {}, one))));
    this.#again.show(this.#answer, this.#result);
  }

  #lesionList(): HTMLElement {
    if (!this.#lesions.length) return el("p", { class: "quiet" }, "No lesion with oil was found.");
    const rows = this.#lesions.map((lesion) => {
      const dot = el("span", { class: "swatch", attrs: { "aria-hidden": "true" } });
      dot.style.background = lesionColour(this.#lesions, lesion.id);
      const show = button({ label: `Show lesion ${lesion.id}`, glyph: lesion.id, class: "small", act: () => this.#scans?.showLesion(lesion) });
      return el("li", { class: "row" }, dot, show, el("span", { class: "quiet" }, (lesion.quality_sentences ?? []).join(" ")));
    });
    return el("ul", { class: "lesions" }, ...rows);
  }

  /** Stored pictures of what is not cut: films, and scans that could not be aligned. */
  #showStored(scans: FollowUpAnswer["scans"]): void {
    const figures = scans.flatMap((scan) =>
      Object.entries(scan.slice_views).map(([lesion, number]) => {
        const src = addressOf(`/follow-ups/${this.id}/views/${number}`, this.#query);
        const picture = el("img", { attrs: { src, alt: `Stored picture of ${lesion}, ${day(scan.date)}`, loading: "lazy" } });
        return el("figure", {}, picture, el("figcaption", {}, `${day(scan.date)} · ${scan.modality} · ${lesion}`));
      }),
    );
    const every = scans.length === this.#told.scans.length;
    const title = figures.length > 0 && el("h2", {}, every ? "Stored pictures" : "Stored pictures of films and of scans that are not cut");
    fill(this.#parts.films, title, el("div", { class: "row" }, ...figures));
  }

  // --- what the reader says ---

  #showReadings(): void {
    this.#saveBar.show();
    const { answer, edits } = this.#corrections;
    this.element.dataset.edits = String(edits.length);
    if (answer) this.#notes.resume(answer.draft);
    const takeBack = (edit: Edit): void => this.#corrections.remove(edit.id);
    fill(this.#parts.edits, editList(edits, takeBack, () => undefined));
    this.#scans?.drawOverlays();
  }

  #neighbour(step: 1 | -1): void {
    void goToNeighbour(this.api, this.id, step, this.go);
  }

  #keys(): Key[] {
    const undo = (): void => void (this.#scans?.undo() || this.#corrections.undo());
    return [
      ...(this.#scans?.keys() ?? []),
      { keys: ["n"], says: "Write a note", group: "Corrections", act: () => this.#notes.focus() },
      { keys: ["ctrl+z"], says: "Undo", group: "Corrections", act: undo },
      ...this.#saveBar.keys().filter((key) => !key.keys.includes("ctrl+z")),
      { keys: ["ctrl+ArrowDown"], says: "Next case", group: "Worklist", act: () => this.#neighbour(1) },
      { keys: ["ctrl+ArrowUp"], says: "Case before", group: "Worklist", act: () => this.#neighbour(-1) },
      { keys: ["u"], says: "Back to the worklist", group: "Worklist", act: () => this.go("#/") },
    ];
  }
}

function addressed(path: string, kind: ResultKind): string {
  return kind === "original" ? path : `${path}?result=${kind}`;
}
