/** All follow-ups of one patient: dates side by side on one grid, the deposit outlined, retention and response. */

import type { CaseRow, Edit, EditWords, FollowUpAnswer, Lesion, Point, ScanInfo } from "../base/answers";
import { addressOf, sentenceOf, type Api } from "../base/api";
import { Chart } from "../base/chart";
import { Corrections } from "../base/corrections";
import { button, el, fill, select } from "../base/dom";
import { setKeys, type Key } from "../base/keys";
import { notify } from "../base/notices";
import { SaveBar } from "../base/save-bar";
import { day, num } from "../base/words";
import type { Pen } from "../image/overlay";
import { Pane, type Tool } from "../image/pane";
import { PixelStore, askPrepared, type Pixels, type Stack } from "../image/stack";
import { Painted } from "../image/trace";
import { NoteForm, editList, exportLinks, section } from "../run/panels";
import { Brush, Measure, Polygon } from "../run/tools";
import { neighbour } from "../worklist/worklist";
import { kineticsWords, lesionColour, oilTable, responseTable, showRetention } from "./retention";

type PlaneName = "axial" | "coronal" | "sagittal";
const PLANES: PlaneName[] = ["axial", "coronal", "sagittal"];
const AXIS: Record<PlaneName, number> = { axial: 0, coronal: 1, sagittal: 2 };
const WINDOWS: [string, number, number][] = [
  ["Oil", 150, 500],
  ["Liver", 60, 200],
  ["Wide", 300, 1400],
];

/** How the grid is cut in one plane: sizes, and whether rows run against the body. */
interface Cut {
  plane: PlaneName;
  count: number;
  rows: number;
  columns: number;
  spacing: [row: number, col: number];
  flipped: boolean;
}

function cutOf(answer: FollowUpAnswer, plane: PlaneName): Cut {
  const [z, y, x] = answer.shape!;
  const step = [0, 1, 2].map((axis) => Math.hypot(...answer.affine!.slice(0, 3).map((row) => row[axis]!)));
  const sizes = { axial: [y, x, 1, 2], coronal: [z, x, 0, 2], sagittal: [z, y, 0, 1] } as const;
  const [rows, columns, rowAxis, colAxis] = sizes[plane];
  // Heads are shown up: slices whose z grows towards the head are turned.
  const flipped = plane !== "axial" && answer.affine![2]![0]! > 0;
  return { plane, count: answer.shape![AXIS[plane]]!, rows, columns, spacing: [step[rowAxis]!, step[colAxis]!], flipped };
}

export class FollowPage {
  readonly element = el("main", { class: "follow", attrs: { "aria-label": "Follow-up" } });
  readonly #closed = new AbortController();
  readonly #store: PixelStore;
  readonly #corrections: Corrections;
  readonly #saveBar: SaveBar;
  readonly #notes: NoteForm;
  readonly #chart = new Chart("Retention of the oil over time");
  readonly #contours = new Map<string, Record<string, Point[][]>>();
  #row!: CaseRow;
  #told!: FollowUpAnswer;
  #plane: PlaneName = "axial";
  #position = 0;
  #cut: Cut | null = null;
  #panes: { scan: ScanInfo; pane: Pane; stack: Stack }[] = [];
  #outlined = true;
  #lesion = "";
  /** Planes outlined and not sent yet, by z, so that one edit holds the whole lesion. */
  #drawn = new Map<number, Point[][]>();
  #parts = {
    title: el("div", { class: "row title" }),
    tools: el("div", { class: "row tools", attrs: { role: "toolbar", "aria-label": "Slices" } }),
    toolbar: el("div", { class: "row toolbar", attrs: { hidden: true } }),
    panes: el("div", { class: "panes" }),
    slide: el("div", { class: "cine" }),
    films: el("div", { class: "films" }),
    edits: el("div"),
  };

  constructor(
    private readonly api: Api,
    private readonly id: string,
    private readonly go: (hash: string) => void,
  ) {
    this.#store = new PixelStore(api);
    this.#corrections = new Corrections(api, id, () => this.#showReadings(), (sentence) => notify(sentence, "failed"));
    this.#saveBar = new SaveBar(this.#corrections);
    this.#notes = new NoteForm((text) => this.#corrections.type(text), (words) => this.#corrections.add(words), null);
  }

  // --- opening ---

  async start(row: CaseRow): Promise<void> {
    this.#row = row;
    const { signal } = this.#closed;
    this.#told = await this.api.get<FollowUpAnswer>(`/follow-ups/${this.id}`, {}, signal);
    this.#lesion = this.#lesions[0]?.id ?? "";
    this.#lay();
    const corrections = this.#corrections.load();
    this.#showStored();
    await corrections;
    const ready = await askPrepared<FollowUpAnswer>(this.api, `/follow-ups/${this.id}`, (told) => told.state !== "ready" && this.#wait(told.sentence || "The scans are being prepared…"), signal);
    if (!ready) return;
    this.#told = ready;
    this.#cutBy("axial");
    this.#showStored();
  }

  dispose(): void {
    this.#closed.abort();
    this.#corrections.close();
    this.#chart.dispose();
    for (const { pane } of this.#panes) pane.dispose();
  }

  get #lesions(): Lesion[] {
    return this.#told.lipiodol.lesions;
  }

  get #scans(): ScanInfo[] {
    return this.#told.scans.filter((scan) => scan.alignment.shown !== "none");
  }

  #wait(sentence: string): void {
    fill(this.#parts.panes, el("div", { class: "panehost" }, el("p", { class: "waiting", attrs: { role: "status" } }, sentence)));
  }

  #lay(): void {
    document.title = `${this.#row.subject} follow-up – angio review`;
    const { title, tools, toolbar, panes, slide, films, edits } = this.#parts;
    fill(
      title,
      button({ label: "Worklist", glyph: "‹ Worklist", act: () => this.go("#/") }),
      button({ label: "Case before", glyph: "↑", title: "Case before (Ctrl ↑)", act: () => void this.#neighbour(-1) }),
      button({ label: "Next case", glyph: "↓", title: "Next case (Ctrl ↓)", act: () => void this.#neighbour(1) }),
      el("h1", {}, this.#row.subject),
      el("span", {}, `Follow-up · ${this.#told.scans.length} scans`),
      el("span", { class: "gap" }),
      this.#saveBar.element,
    );
    this.#saveBar.show();
    const quality = this.#told.lipiodol.quality_sentences ?? [];
    const measured = el(
      "section",
      { class: "measured" },
      el("div", { class: "retention" }, el("h2", {}, "Retention"), this.#chart.element, ...this.#lesions.map((one) => el("p", { class: "quiet" }, kineticsWords(one)))),
      el("div", { class: "tables" }, responseTable(this.#told.response), oilTable(this.#lesions)),
    );
    const regions = el("li", {}, el("a", { attrs: { href: addressOf(`/cases/${this.id}/regions.zip`), download: "regions.zip" } }, "My outlines (NIfTI, for angio run --roi)"));
    const side = el(
      "aside",
      { class: "side", attrs: { "aria-label": "Corrections" } },
      section("Lesions", true, this.#lesionList()),
      section("Note", true, this.#notes.element),
      section("Your changes", true, edits),
      section("About this result", false, el("ul", { class: "quality" }, ...quality.map((one) => el("li", {}, one))), exportLinks([regions])),
    );
    const stage = el("div", { class: "stage" }, tools, toolbar, panes, slide, films, measured);
    this.element.append(title, el("div", { class: "body" }, stage, side));
    setKeys(this.#keys());
    if (!showRetention(this.#chart, this.#lesions)) fill(this.#chart.element, el("p", { class: "quiet" }, "No retention could be told: there are too few scans with oil."));
  }

  #lesionList(): HTMLElement {
    const rows = this.#lesions.map((lesion) => {
      const dot = el("span", { class: "swatch", attrs: { "aria-hidden": "true" } });
      dot.style.background = lesionColour(this.#lesions, lesion.id);
      return el("li", { class: "row" }, dot, button({ label: `Show lesion ${lesion.id}`, glyph: lesion.id, class: "small", act: () => this.#showLesion(lesion) }), el("span", { class: "quiet" }, (lesion.quality_sentences ?? []).join(" ")));
    });
    if (!rows.length) return el("p", { class: "quiet" }, "No lesion with oil was found.");
    return el("ul", { class: "lesions" }, ...rows);
  }

  // --- slices ---

  #cutBy(plane: PlaneName): void {
    for (const { pane } of this.#panes) pane.dispose();
    this.#plane = plane;
    const cut = cutOf(this.#told, plane);
    this.#cut = cut;
    const window = { ...(this.#panes[0]?.pane.window ?? this.#told.window) };
    this.#panes = this.#scans.map((scan) => this.#makePane(scan, cut, window));
    fill(this.#parts.panes, ...this.#panes.map(({ pane }) => el("div", { class: "panehost" }, pane.element)));
    if (!this.#panes.length) this.#wait("No scan could be cut on one grid: the stored pictures are below.");
    this.#position = this.#firstPosition(cut);
    this.#showTools();
    this.#laySlide();
    void this.#show();
  }

  #makePane(scan: ScanInfo, cut: Cut, window: { center: number; width: number }): { scan: ScanInfo; pane: Pane; stack: Stack } {
    const label = `Scan of ${day(scan.date)}`;
    const pane = new Pane(
      label,
      cut.rows,
      cut.columns,
      {
        view: (moved) => this.#link(moved),
        grey: (moved) => this.#link(moved),
        wheel: (steps) => this.#go(this.#position + steps),
      },
      cut.spacing[0] / cut.spacing[1],
    );
    pane.window = window;
    pane.values = { slope: this.#told.slope, intercept: this.#told.intercept };
    const days = scan.days === null ? "" : ` · day ${num(scan.days, 0)}`;
    pane.say("top-left", `${day(scan.date)}${days}`, `${scan.modality}, ${scan.alignment.shown === "reference" ? "reference" : `aligned (${scan.alignment.shown})`}`);
    pane.say("bottom-left", scan.alignment.sentence);
    pane.say("bottom-right", this.#sides(cut));
    pane.overlay.drawings.push((pen) => this.#drawContours(pen, scan), (pen) => this.#drawOwn(pen, scan), (pen) => pane.tool?.draw?.(pen));
    return { scan, pane, stack: this.#stackOf(scan, cut) };
  }

  #stackOf(scan: ScanInfo, cut: Cut): Stack {
    const base = `/follow-ups/${this.id}/scans/${scan.index}/${cut.plane}`;
    const load = async (number: number): Promise<Pixels> => {
      const pixels = await this.#store.load(`${base}/${number}`);
      return cut.flipped ? upsideDown(pixels) : pixels;
    };
    return { key: `${this.id}/${scan.index}/${cut.plane}`, count: cut.count, rows: cut.rows, columns: cut.columns, load };
  }

  /** Which side of the patient is left and right on the screen, by the direction of the columns in LPS. */
  #sides({ plane }: Cut): string {
    const axis = plane === "sagittal" ? 1 : 0;
    const [low, high] = axis === 0 ? ["R", "L"] : ["A", "P"];
    const grows = this.#told.affine![axis]![plane === "sagittal" ? 1 : 2]! > 0;
    return grows ? `${low} ◂ ▸ ${high}` : `${high} ◂ ▸ ${low}`;
  }

  /** Where a lesion lies, else the middle. */
  #firstPosition(cut: Cut): number {
    return this.#positionOf(this.#lesions[0], cut) ?? Math.floor(cut.count / 2);
  }

  #positionOf(lesion: Lesion | undefined, cut: Cut): number | null {
    const at = lesion?.centroid_mm && voxelOf(this.#told.affine!, lesion.centroid_mm);
    const position = at && Math.round(at[AXIS[cut.plane]]!);
    return position !== null && position !== undefined && position >= 0 && position < cut.count ? position : null;
  }

  #showLesion(lesion: Lesion): void {
    this.#lesion = lesion.id;
    const position = this.#cut && this.#positionOf(lesion, this.#cut);
    if (position === null) notify(`The place of ${lesion.id} in these scans is not known.`);
    else this.#go(position);
    this.#showTools();
  }

  #go(position: number): void {
    if (!this.#cut) return;
    this.#position = Math.min(Math.max(position, 0), this.#cut.count - 1);
    void this.#show();
  }

  async #show(): Promise<void> {
    const position = this.#position;
    this.#slide.value = String(position);
    this.#sliceWord.textContent = `${this.#plane} ${position + 1}/${this.#cut!.count}`;
    this.element.dataset.position = String(position);
    try {
      await Promise.all(this.#panes.map(({ pane, stack }) => pane.show(stack, position)));
      await Promise.all(this.#panes.map(({ scan }) => this.#askContours(scan, position)));
      if (position === this.#position) for (const { pane } of this.#panes) pane.drawOverlay();
    } catch (error) {
      if (!this.#closed.signal.aborted) notify(sentenceOf(error), "failed");
    }
  }

  /** One picture was moved, zoomed or windowed: the others follow. */
  #link(moved: Pane): void {
    for (const { pane } of this.#panes) {
      if (pane === moved) continue;
      pane.window = { ...moved.window };
      pane.view.follow(moved.view);
      void pane.refresh();
    }
    this.#showWindow();
  }

  #setWindow(center: number, width: number): void {
    for (const { pane } of this.#panes) {
      pane.window = { center, width };
      void pane.refresh();
    }
    this.#showWindow();
  }

  #showWindow(): void {
    const window = this.#panes[0]?.pane.window;
    if (!window) return;
    for (const { pane } of this.#panes) pane.say("top-right", `Window ${window.center.toFixed(0)} / ${window.width.toFixed(0)} HU`);
  }

  // --- over the slices ---

  async #askContours(scan: ScanInfo, position: number): Promise<void> {
    const key = `${scan.index}/${this.#plane}/${position}`;
    if (!scan.deposits.length || this.#contours.has(key)) return;
    const path = `/follow-ups/${this.id}/scans/${key}/contours`;
    const told = await this.api.get<{ contours: Record<string, Point[][]> }>(path, {}, this.#closed.signal);
    this.#contours.set(key, told.contours);
  }

  #drawContours(pen: Pen, scan: ScanInfo): void {
    if (!this.#outlined) return;
    const found = this.#contours.get(`${scan.index}/${this.#plane}/${this.#position}`) ?? {};
    for (const [lesion, lines] of Object.entries(found)) {
      const colour = lesionColour(this.#lesions, lesion);
      for (const line of lines) pen.line(line.map((point) => this.#onScreen(point)), colour, 1.5, { closed: true });
      if (lines[0]?.[0]) pen.label(this.#onScreen(lines[0][0]), lesion, colour);
    }
  }

  #drawOwn(pen: Pen, scan: ScanInfo): void {
    if (scan.alignment.shown !== "reference" || this.#plane !== "axial") return;
    for (const [id, planes] of this.#ownOutlines()) {
      for (const line of planes.get(this.#position) ?? []) {
        pen.line(line, "#ffffff", 2, { closed: true, dashed: true });
        pen.label(line[0]!, `${id}, yours`, "#ffffff");
      }
    }
  }

  /** The reader's outlines by lesion and plane: the last edit of a lesion, then what is not sent yet. */
  #ownOutlines(): Map<string, Map<number, Point[][]>> {
    const found = new Map<string, Map<number, Point[][]>>();
    for (const edit of this.#corrections.edits) {
      if (edit.kind === "redraw_lesion") found.set(edit.lesion, new Map(edit.planes.map((one) => [one.z, one.polygons])));
    }
    if (this.#drawn.size) found.set(this.#lesion, new Map([...(found.get(this.#lesion) ?? []), ...this.#drawn]));
    return found;
  }

  #onScreen([row, col]: Point): Point {
    return this.#cut!.flipped ? [this.#cut!.rows - 1 - row, col] : [row, col];
  }

  // --- tools ---

  #showTools(): void {
    const reference = this.#reference;
    const tool = reference?.pane.tool?.name;
    fill(
      this.#parts.tools,
      el("div", { class: "group", attrs: { role: "group", "aria-label": "Plane" } }, ...PLANES.map((plane) => button({ label: plane[0]!.toUpperCase() + plane.slice(1), pressed: plane === this.#plane, act: () => this.#cutBy(plane) }))),
      el("div", { class: "group", attrs: { role: "group", "aria-label": "Window" } }, ...WINDOWS.map(([label, center, width]) => button({ label, title: `Window ${center} / ${width} HU`, act: () => this.#setWindow(center, width) }))),
      el(
        "div",
        { class: "group", attrs: { role: "group", "aria-label": "Picture" } },
        button({ label: "Deposit", title: "Outline of the deposit (O)", pressed: this.#outlined, act: () => this.#toggleOutline() }),
        button({ label: "Zoom in", glyph: "+", act: () => this.#panes[0]?.pane.zoomBy(1.25) }),
        button({ label: "Zoom out", glyph: "−", act: () => this.#panes[0]?.pane.zoomBy(0.8) }),
        button({ label: "Reset", title: "Reset window and zoom (R)", act: () => this.#reset() }),
        button({ label: "Measure", title: "Measure a distance (M)", pressed: tool === "measure", act: () => this.#measure() }),
      ),
      reference && this.#lesions.length > 0 && this.#plane === "axial"
        ? el(
            "div",
            { class: "group", attrs: { role: "group", "aria-label": "Outline a lesion" } },
            select("Lesion", this.#lesions.map((one): [string, string] => [one.id, one.id]), this.#lesion, (value) => ((this.#lesion = value), this.#drawn.clear())),
            button({ label: "Brush", title: "Paint the lesion on the reference scan (B)", pressed: tool === "brush", act: () => this.#draw("brush") }),
            button({ label: "Polygon", title: "Outline the lesion on the reference scan (P)", pressed: tool === "polygon", act: () => this.#draw("polygon") }),
          )
        : null,
    );
    this.#showWindow();
  }

  get #reference(): { scan: ScanInfo; pane: Pane } | undefined {
    return this.#panes.find(({ scan }) => scan.alignment.shown === "reference");
  }

  #use(tool: Tool | null, on: Pane[]): void {
    for (const { pane } of this.#panes) pane.tool = on.includes(pane) ? tool : null;
    const { toolbar } = this.#parts;
    toolbar.hidden = tool === null;
    const region = tool instanceof Brush || tool instanceof Polygon;
    if (tool) {
      fill(
        toolbar,
        el("span", { class: "hint", attrs: { role: "status" } }, region ? `${tool.hint} On the reference scan, slice by slice.` : tool.hint),
        region && button({ label: "Keep this slice", class: "primary", act: () => tool.keep?.() }),
        region && button({ label: `Save ${this.#drawn.size} slice${this.#drawn.size === 1 ? "" : "s"} of ${this.#lesion}`, disabled: !this.#drawn.size, act: () => this.#saveLesion() }),
        button({ label: "Leave", title: "Leave (Esc)", act: () => this.#use(null, []) }),
      );
    }
    this.#showTools();
    for (const { pane } of this.#panes) pane.drawOverlay();
  }

  #draw(name: "brush" | "polygon"): void {
    const found = this.#reference;
    if (!found || this.#plane !== "axial" || !this.#cut) return notify("Lesions are outlined on axial slices of the reference scan.", "failed");
    const redraw = (): void => found.pane.drawOverlay();
    const done = (polygons: Point[][]): void => {
      if (!polygons.length) return notify("Nothing is drawn on this slice.", "failed");
      this.#drawn.set(this.#position, polygons);
      this.#draw(name);
    };
    const tool = name === "brush" ? new Brush(new Painted(this.#cut.rows, this.#cut.columns), done, redraw) : new Polygon(done, redraw);
    if (tool instanceof Brush) tool.radius = Math.max(2, Math.round(this.#cut.rows / 60));
    this.#use(tool, [found.pane]);
  }

  /** All planes of the lesion as one edit, those of the edit before included. */
  #saveLesion(): void {
    const planes = [...(this.#ownOutlines().get(this.#lesion) ?? [])].map(([z, polygons]) => ({ z, polygons }));
    const words: EditWords = { kind: "redraw_lesion", lesion: this.#lesion, planes };
    this.#drawn.clear();
    this.#corrections.add(words);
    this.#use(null, []);
  }

  #sayMeasured(words: string): void {
    const hint = this.#parts.toolbar.querySelector(".hint");
    if (hint) hint.textContent = words;
  }

  #measure(): void {
    if (!this.#cut) return;
    const panes = this.#panes.map(({ pane }) => pane);
    const redraw = (): void => panes.forEach((pane) => pane.drawOverlay());
    this.#use(new Measure(this.#cut.spacing, "slice", redraw, (words) => this.#sayMeasured(words)), panes);
  }

  #toggleOutline(): void {
    this.#outlined = !this.#outlined;
    this.#showTools();
    for (const { pane } of this.#panes) pane.drawOverlay();
  }

  #reset(): void {
    for (const { pane } of this.#panes) pane.view.fit();
    this.#setWindow(this.#told.window.center, this.#told.window.width);
  }

  // --- slider, films, edits ---

  #slide = el("input", { attrs: { type: "range", min: 0, value: 0, "aria-label": "Slice" }, on: { input: () => this.#go(Number(this.#slide.value)) } });
  #sliceWord = el("output", { class: "frameword" });

  #laySlide(): void {
    this.#slide.max = String(this.#cut!.count - 1);
    fill(this.#parts.slide, button({ label: "Slice before", glyph: "|◂", act: () => this.#go(this.#position - 1) }), el("div", { class: "scrub" }, this.#slide), button({ label: "Next slice", glyph: "▸|", act: () => this.#go(this.#position + 1) }), this.#sliceWord);
  }

  /** Stored pictures of what is not cut: films, and scans that could not be aligned. */
  #showStored(): void {
    const shown = this.#told.state === "ready" ? this.#told.scans.filter((scan) => scan.alignment.shown === "none") : this.#told.scans;
    const figures = shown.flatMap((scan) =>
      Object.entries(scan.slice_views).map(([lesion, number]) =>
        el(
          "figure",
          {},
          el("img", { attrs: { src: addressOf(`/follow-ups/${this.id}/views/${number}`), alt: `Stored picture of ${lesion}, ${day(scan.date)}`, loading: "lazy" } }),
          el("figcaption", {}, `${day(scan.date)} · ${scan.modality} · ${lesion}`),
        ),
      ),
    );
    fill(this.#parts.films, figures.length > 0 && el("h2", {}, "Stored pictures of films and of scans that are not cut"), el("div", { class: "row" }, ...figures));
  }

  #showReadings(): void {
    this.#saveBar.show();
    const { answer, edits } = this.#corrections;
    this.element.dataset.edits = String(edits.length);
    if (answer) this.#notes.resume(answer.draft);
    const takeBack = (edit: Edit): void => this.#corrections.remove(edit.id);
    fill(this.#parts.edits, editList(edits, takeBack, () => undefined));
    for (const { pane } of this.#panes) pane.drawOverlay();
  }

  async #neighbour(step: 1 | -1): Promise<void> {
    const next = await neighbour(this.api, this.id, step);
    if (next) this.go(`#/case/${next}`);
    else notify(step > 0 ? "This is the last case of the worklist." : "This is the first case of the worklist.");
  }

  #keys(): Key[] {
    const group = "Slices";
    return [
      { keys: ["ArrowUp", "ArrowLeft"], says: "Slice before", group, act: () => this.#go(this.#position - 1) },
      { keys: ["ArrowDown", "ArrowRight"], says: "Next slice", group, act: () => this.#go(this.#position + 1) },
      { keys: ["PageUp"], says: "Ten slices back", group, act: () => this.#go(this.#position - 10) },
      { keys: ["PageDown"], says: "Ten slices on", group, act: () => this.#go(this.#position + 10) },
      ...PLANES.map((plane, number): Key => ({ keys: [String(number + 1)], says: plane[0]!.toUpperCase() + plane.slice(1), group, act: () => this.#cutBy(plane) })),
      { keys: ["o"], says: "Outline of the deposit", group, act: () => this.#toggleOutline() },
      { keys: ["+", "="], says: "Zoom in", group, act: () => this.#panes[0]?.pane.zoomBy(1.25) },
      { keys: ["-"], says: "Zoom out", group, act: () => this.#panes[0]?.pane.zoomBy(0.8) },
      { keys: ["r"], says: "Reset window and zoom", group, act: () => this.#reset() },
      { keys: ["m"], says: "Measure", group, act: () => this.#measure() },
      { keys: ["b"], says: "Brush", group: "Corrections", act: () => this.#draw("brush") },
      { keys: ["p"], says: "Polygon", group: "Corrections", act: () => this.#draw("polygon") },
      { keys: ["n"], says: "Write a note", group: "Corrections", act: () => this.#notes.element.querySelector("textarea")?.focus() },
      { keys: ["Enter"], says: "Keep what is drawn on this slice", group: "Corrections", act: () => this.#reference?.pane.tool?.keep?.() },
      { keys: ["Escape"], says: "Leave the tool", group: "Corrections", act: () => this.#use(null, []) },
      { keys: ["ctrl+z"], says: "Undo", group: "Corrections", act: () => this.#reference?.pane.tool?.undo?.() || this.#corrections.undo() },
      ...this.#saveBar.keys().filter((key) => !key.keys.includes("ctrl+z")),
      { keys: ["ctrl+ArrowDown"], says: "Next case", group: "Worklist", act: () => void this.#neighbour(1) },
      { keys: ["ctrl+ArrowUp"], says: "Case before", group: "Worklist", act: () => void this.#neighbour(-1) },
      { keys: ["u"], says: "Back to the worklist", group: "Worklist", act: () => this.go("#/") },
    ];
  }
}

function upsideDown({ rows, columns, values }: Pixels): Pixels {
  const turned = new Uint16Array(values.length);
  for (let row = 0; row < rows; row++) {
    turned.set(values.subarray(row * columns, (row + 1) * columns), (rows - 1 - row) * columns);
  }
  return { rows, columns, values: turned };
}

/** The voxel (z, y, x) at a place in millimetres, by the inverse of a 3 × 3 matrix and its offset. */
export function voxelOf(affine: number[][], [px, py, pz]: [number, number, number]): [number, number, number] {
  const [[a, b, c, t], [d, e, f, u], [g, h, i, v]] = affine as [number[], number[], number[]] as [[number, number, number, number], [number, number, number, number], [number, number, number, number]];
  const [x, y, z] = [px - t, py - u, pz - v];
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [
    (x * (e * i - f * h) + y * (c * h - b * i) + z * (b * f - c * e)) / determinant,
    (x * (f * g - d * i) + y * (a * i - c * g) + z * (c * d - a * f)) / determinant,
    (x * (d * h - e * g) + y * (b * g - a * h) + z * (a * e - b * d)) / determinant,
  ];
}
