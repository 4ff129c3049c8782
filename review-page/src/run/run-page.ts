/** One run: its frames, what the analysis found on them, and the reader's word on it. */

import type { Edit, EditWords, Feeder, FramesAnswer, Point, ResultKind } from "../base/answers";
import { addressOf, type Api } from "../base/api";
import { el, fill } from "../base/dom";
import { setKeys, type Key } from "../base/keys";
import { AnalyseAgain } from "../case/analyse-again";
import { NoteForm, caseTitle, editList, exportLinks, journalButtons, section } from "../case/panels";
import { SaveBar } from "../case/save-bar";
import { PixelStore, askFrames, prepareAhead } from "../image/stack";
import { goToNeighbour, neighbour } from "../worklist/worklist";
import { about } from "./about";
import { Correcting } from "./correcting";
import { CurvesPanel } from "./curves-panel";
import { Drawings } from "./drawings";
import { FeederList } from "./feeder-list";
import { FramesView } from "./frames-view";
import { Layers } from "./layers";
import { OpenRun } from "./open-run";
import { PhaseForm } from "./phases";
import { feederKeys, frameKeys, pictureKeys, toolKeys } from "./run-keys";
import { ToolRow } from "./tool-row";

export class RunPage {
  readonly element = el("main", { class: "run", attrs: { "aria-label": "Run" } });
  readonly #run: OpenRun;
  readonly #saveBar: SaveBar;
  readonly #layers: Layers;
  readonly #drawings: Drawings;
  readonly #feeders: FeederList;
  readonly #curves: CurvesPanel;
  readonly #notes: NoteForm;
  readonly #again: AnalyseAgain;
  #phases: PhaseForm | null = null;
  /** The parts that there are once the frames can be had. */
  #frames: FramesView | null = null;
  #correcting: Correcting | null = null;
  #tools: ToolRow | null = null;
  readonly #panes = el("div", { class: "panes" });
  readonly #stage = el("div", { class: "stage" });
  readonly #side = el("aside", { class: "side", attrs: { "aria-label": "Findings and corrections" } });
  readonly #edits = el("div");
  readonly #about = el("div");

  constructor(
    private readonly api: Api,
    private readonly id: string,
    private readonly go: (hash: string) => void,
  ) {
    const run = new OpenRun(api, id, () => this.#showReadings());
    const add = (words: EditWords): void => void run.add(words);
    this.#run = run;
    this.#saveBar = new SaveBar(run.corrections);
    this.#layers = new Layers(run);
    this.#drawings = new Drawings(run, this.#layers, () => this.#frames?.pane.drawOverlay());
    this.#feeders = new FeederList({
      hover: (feeder) => this.#showFeeder(feeder ?? this.#chosen),
      choose: (feeder) => void this.#choose(feeder),
      add,
      takeBack: (edit) => run.corrections.remove(edit.id),
      draw: (tumour) => this.#correcting?.draw("brush", tumour),
    });
    this.#curves = new CurvesPanel(api, id, () => this.#frames?.time_s ?? null, (time) => this.#frames?.seek(time));
    this.#notes = new NoteForm((text) => run.corrections.type(text), add, () => this.#correcting?.markPlace((point) => this.#notes.at(point)));
    this.#again = new AnalyseAgain(api, id, run.corrections, (kind) => this.#turnTo(kind), run.signal);
  }

  // --- opening ---

  async start(): Promise<void> {
    await this.#run.askAnswer();
    const { row } = this.#run.answer;
    this.#lay();
    if (!row.analysed) return this.#showStored(row.problem ?? "This run was not analysed.");
    this.#showStored("The frames are being prepared…");
    await Promise.all([this.#openResult("original"), this.#run.corrections.load(), this.#openFrames()]);
    void this.#prepareNext();
  }

  /** Have the next case prepared while this one is read; where that fails nothing is lost. */
  async #prepareNext(): Promise<void> {
    const next = await neighbour(this.api, this.id, 1).catch(() => null);
    if (!this.#run.closed) await prepareAhead(this.api, next, this.#run.signal);
  }

  dispose(): void {
    this.#run.close();
    this.#frames?.dispose();
    this.#curves.dispose();
  }

  /** Frames and analysis come side by side; whoever is last lays the overlay. */
  async #openFrames(): Promise<void> {
    const { answer, signal } = this.#run;
    const info = await askFrames(this.api, this.id, (told) => this.#showStored(told.sentence), signal);
    if (!info) return;
    answer.source.available = true;
    if (this.#run.results) this.#again.show(answer, this.#run.results.kind);
    await this.#layFrames(info).open();
  }

  async #turnTo(kind: ResultKind): Promise<void> {
    await this.#run.askAnswer(kind);
    await this.#openResult(kind);
  }

  /** Show one of the two analyses. */
  async #openResult(kind: ResultKind): Promise<void> {
    const results = await this.#run.askResults(kind);
    this.element.dataset.result = kind;
    this.#curves.show(results.curves);
    this.#laySide();
    this.#again.show(this.#run.answer, kind);
    this.#showReadings();
    void this.#showAbout();
    if (this.#frames) await this.#layers.layOn(this.#frames.pane);
  }

  // --- layout ---

  #lay(): void {
    const { row } = this.#run.answer;
    const title = caseTitle(row, row.label, (step) => this.#neighbour(step), () => this.go("#/"), this.#saveBar.element);
    this.#saveBar.show();
    fill(this.#stage, this.#panes, this.#curves.element);
    this.element.append(title, el("div", { class: "body" }, this.#stage, this.#side));
    setKeys(this.#keys());
  }

  #layFrames(info: FramesAnswer): FramesView {
    const frames = new FramesView(this.#run, new PixelStore(this.api), info, this.#panes, {
      pick: (point) => this.#pick(point),
      moved: () => this.#curves.mark(),
      turned: () => this.#tools?.show(),
    });
    this.#frames = frames;
    this.#correcting = new Correcting(this.#run, frames, this.#drawings, () => this.#tools?.show());
    this.#tools = new ToolRow(this.#run, frames, this.#correcting);
    frames.pane.overlay.drawings.push((pen) => this.#drawings.findings(pen), (pen) => this.#drawings.readings(pen));
    frames.pane.overlay.tools = (pen) => frames.pane.tool?.draw?.(pen);
    fill(this.#panes, frames.host(this.#layers.legend));
    fill(this.#stage, this.#tools.element, this.#correcting.toolbar, this.#panes, frames.bar.element, this.#curves.element);
    this.#tools.show();
    setKeys(this.#keys());
    this.#showReadings();
    void this.#layers.layOn(frames.pane);
    return frames;
  }

  #laySide(): void {
    if (this.#phases) return;
    const run = this.#run;
    this.#phases = new PhaseForm(run.results!.analysis.image.frames, () => this.#frames?.cine.number ?? 0, (words) => run.add(words));
    fill(
      this.#side,
      section("Tumours and feeders", true, this.#feeders.element),
      section("Layers", true, this.#layers.element),
      section("Note", true, this.#notes.element),
      section("Your changes", true, this.#edits, this.#again.element, journalButtons(this.api, this.id)),
      section("Phases", false, this.#phases.element),
      section("About this result", false, this.#about, exportLinks()),
    );
  }

  /** The stored picture with a sentence, until there are frames. */
  #showStored(sentence: string): void {
    if (this.#frames) return;
    const stored = ["after", "overlay", "thumbnail"].find((name) => this.#run.answer.pictures.includes(name));
    const words = el("p", { class: "waiting", attrs: { role: "status" } }, sentence);
    const picture = stored && el("img", { class: "stored", attrs: { src: addressOf(`/cases/${this.id}/pictures/${stored}`), alt: "Stored picture of this run" } });
    fill(this.#panes, el("div", { class: "panehost" }, picture, words));
  }

  async #showAbout(): Promise<void> {
    const { answer, results } = this.#run;
    const told = await this.api.get<{ objects: string[] }>(`/cases/${this.id}/objects`, { result: results!.kind }).catch(() => ({ objects: [] }));
    fill(this.#about, about(answer, results!.analysis, told.objects, results!.kind));
  }

  // --- what the reader says and looks at ---

  #showReadings(): void {
    const { corrections, results, phases, tumours, openEdits } = this.#run;
    this.#saveBar.show();
    this.element.dataset.edits = String(corrections.edits.length);
    if (corrections.answer) this.#notes.resume(corrections.answer.draft);
    const takeBack = (edit: Edit): void => corrections.remove(edit.id);
    fill(this.#edits, editList(corrections.edits, takeBack, (point) => this.#frames?.look(point)));
    if (!results) return;
    this.#feeders.show(tumours, openEdits);
    this.#phases?.show(phases);
    this.#frames?.bar.showPhases(phases);
    this.#frames?.showCorners();
    void this.#correcting?.snapAgain();
    this.#frames?.pane.drawOverlay();
  }

  get #chosen(): Feeder | null {
    return this.#feeders.feeders.find((one) => one.id === this.#feeders.chosen) ?? null;
  }

  #showFeeder(feeder: Feeder | null): void {
    this.#drawings.feeder = feeder;
    this.#frames?.pane.drawOverlay();
  }

  async #choose(feeder: Feeder | null): Promise<void> {
    this.#showFeeder(feeder);
    if (this.#frames?.info.layers.corrected) await this.#curves.structure(feeder?.id ?? null, this.#run.results!.kind);
  }

  #pick(point: Point): void {
    this.#drawings.picked = point;
    this.#frames?.pane.drawOverlay();
    if (this.#frames?.info.layers.corrected) void this.#curves.pick(point);
    else this.#curves.say("Curves are there once the frames are corrected for motion.");
  }

  #neighbour(step: 1 | -1): void {
    void goToNeighbour(this.api, this.id, step, this.go);
  }

  #keys(): Key[] {
    const own = this.#correcting && this.#frames ? [...frameKeys(this.#frames), ...pictureKeys(this.#frames, this.#layers, this.#correcting), ...toolKeys(this.#correcting)] : [];
    const taken = new Set(own.flatMap((key) => key.keys));
    return [
      ...own,
      ...feederKeys(this.#feeders),
      { keys: ["n"], says: "Write a note", group: "Corrections", act: () => this.#notes.focus() },
      ...this.#saveBar.keys().filter((key) => !key.keys.some((one) => taken.has(one))),
      { keys: ["ctrl+ArrowDown"], says: "Next case", group: "Worklist", act: () => this.#neighbour(1) },
      { keys: ["ctrl+ArrowUp"], says: "Case before", group: "Worklist", act: () => this.#neighbour(-1) },
      { keys: ["u"], says: "Back to the worklist", group: "Worklist", act: () => this.go("#/") },
    ];
  }
}
