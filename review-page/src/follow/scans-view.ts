/** All dates of a follow-up side by side on one grid: one slice, one window, one zoom, the deposit outlined. */

import type { FollowUpAnswer, GreyWindow, Lesion, Point, ScanInfo } from "../base/answers";
import { sentenceOf, type Api, type Query } from "../base/api";
import { button, el, fill } from "../base/dom";
import type { Key } from "../base/keys";
import { notify } from "../base/notices";
import { day, num } from "../base/words";
import type { Corrections } from "../case/corrections";
import type { Pen } from "../image/overlay";
import { Pane, type Tool } from "../image/pane";
import { PixelStore, type Pixels, type Stack } from "../image/stack";
import { Measure } from "../run/tools";
import { Outlining } from "./outlining";
import { lesionColour } from "./retention";
import { PLANES, cutOf, sidesOf, sliceOf, upsideDown, type Cut, type PlaneName } from "./slices";

const WINDOWS: [string, number, number][] = [
  ["Oil", 150, 500],
  ["Liver", 60, 200],
  ["Wide", 300, 1400],
];

interface ScanPane {
  scan: ScanInfo;
  pane: Pane;
  stack: Stack;
}

export class ScansView {
  readonly element = el("div", { class: "scans" });
  readonly #tools = el("div", { class: "row tools", attrs: { role: "toolbar", "aria-label": "Slices" } });
  readonly #toolbar = el("div", { class: "row toolbar", attrs: { hidden: true } });
  readonly #host = el("div", { class: "panes" });
  readonly #slide = el("input", { attrs: { type: "range", min: 0, value: 0, "aria-label": "Slice" }, on: { input: () => this.go(Number(this.#slide.value)) } });
  readonly #sliceWord = el("output", { class: "frameword" });
  readonly #contours = new Map<string, Record<string, Point[][]>>();
  readonly #closed = new AbortController();
  readonly #store: PixelStore;
  readonly #outlining: Outlining;
  #panes: ScanPane[] = [];
  #cut!: Cut;
  #position = 0;
  #outlined = true;

  constructor(
    private readonly api: Api,
    private readonly told: FollowUpAnswer,
    /** Where it is asked for, and of which result. */
    private readonly from: { id: string; query: Query },
    corrections: Corrections,
    /** Told which slice is shown. */
    private readonly turned: (position: number) => void,
  ) {
    this.#store = new PixelStore(api);
    this.#outlining = new Outlining({
      corrections,
      lesions: this.#lesions.map((one) => one.id),
      place: () => {
        const pane = this.#reference;
        return pane && this.#cut.plane === "axial" ? { pane, cut: this.#cut, position: this.#position } : null;
      },
      use: (tool, ...buttons) => this.#use(tool, this.#reference ? [this.#reference] : [], buttons),
    });
    const step = (label: string, glyph: string, by: number): HTMLElement => button({ label, glyph, act: () => this.go(this.#position + by) });
    const slide = el("div", { class: "cine" }, step("Slice before", "|◂", -1), el("div", { class: "scrub" }, this.#slide), step("Next slice", "▸|", 1), this.#sliceWord);
    fill(this.element, this.#tools, this.#toolbar, this.#host, slide);
    this.#cutBy("axial");
  }

  dispose(): void {
    this.#closed.abort();
    for (const { pane } of this.#panes) pane.dispose();
  }

  get #lesions(): Lesion[] {
    return this.told.lipiodol.lesions;
  }

  get #reference(): Pane | undefined {
    return this.#panes.find(({ scan }) => scan.alignment.shown === "reference")?.pane;
  }

  // --- slices ---

  #cutBy(plane: PlaneName): void {
    this.#outlining.leaveSlice(this.#position);
    for (const { pane } of this.#panes) pane.dispose();
    const window = { ...(this.#panes[0]?.pane.window ?? this.told.window) };
    this.#cut = cutOf(this.told, plane);
    this.#panes = this.told.scans.filter((scan) => scan.alignment.shown !== "none").map((scan) => this.#makePane(scan, window));
    fill(this.#host, ...this.#panes.map(({ pane }) => el("div", { class: "panehost" }, pane.element)));
    this.#position = sliceOf(this.told.affine!, this.#lesions[0], this.#cut) ?? Math.floor(this.#cut.count / 2);
    this.#slide.max = String(this.#cut.count - 1);
    this.#outlining.leave();
    void this.#show();
  }

  #makePane(scan: ScanInfo, window: GreyWindow): ScanPane {
    const cut = this.#cut;
    const told = {
      view: (moved: Pane) => this.#link(moved),
      grey: (moved: Pane) => this.#link(moved),
      wheel: (steps: number) => this.go(this.#position + steps),
    };
    const pane = new Pane(`Scan of ${day(scan.date)}`, cut.rows, cut.columns, told, cut.spacing[0] / cut.spacing[1]);
    pane.window = { ...window };
    pane.values = { slope: this.told.slope, intercept: this.told.intercept };
    const days = scan.days === null ? "" : ` · day ${num(scan.days, 0)}`;
    const aligned = scan.alignment.shown === "reference" ? "reference" : `aligned (${scan.alignment.shown})`;
    pane.say("top-left", `${day(scan.date)}${days}`, `${scan.modality}, ${aligned}`);
    pane.say("bottom-left", scan.alignment.sentence);
    pane.say("bottom-right", sidesOf(this.told.affine!, cut.plane));
    pane.overlay.drawings.push((pen) => this.#drawContours(pen, scan), (pen) => this.#drawOwn(pen, scan));
    pane.overlay.tools = (pen) => pane.tool?.draw?.(pen);
    return { scan, pane, stack: this.#stackOf(scan, cut) };
  }

  #stackOf(scan: ScanInfo, cut: Cut): Stack {
    const { id, query } = this.from;
    const base = `/follow-ups/${id}/scans/${scan.index}/${cut.plane}`;
    const load = async (number: number): Promise<Pixels> => {
      const pixels = await this.#store.load(`${base}/${number}`, query);
      return cut.flipped ? upsideDown(pixels) : pixels;
    };
    const key = `${id}/${String(query.result ?? "original")}/${scan.index}/${cut.plane}`;
    return { key, count: cut.count, rows: cut.rows, columns: cut.columns, load };
  }

  showLesion(lesion: Lesion): void {
    const position = sliceOf(this.told.affine!, lesion, this.#cut);
    if (position === null) notify(`The place of ${lesion.id} in these scans is not known.`);
    else this.go(position);
    this.#outlining.choose(lesion.id);
    this.#showTools();
  }

  go(position: number): void {
    const to = Math.min(Math.max(position, 0), this.#cut.count - 1);
    if (to === this.#position) return;
    this.#outlining.leaveSlice(this.#position);
    this.#position = to;
    this.#outlining.enterSlice();
    void this.#show();
  }

  async #show(): Promise<void> {
    const position = this.#position;
    this.#slide.value = String(position);
    this.#sliceWord.textContent = `${this.#cut.plane} ${position + 1}/${this.#cut.count}`;
    this.turned(position);
    try {
      await Promise.all(this.#panes.map(({ pane, stack }) => pane.show(stack, position)));
      await Promise.all(this.#panes.map(({ scan }) => this.#askContours(scan, position)));
      if (position === this.#position) this.drawOverlays();
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
    for (const { pane } of this.#panes) {
      const { center, width } = pane.window;
      pane.say("top-right", `Window ${center.toFixed(0)} / ${width.toFixed(0)} HU`);
    }
  }

  // --- over the slices ---

  drawOverlays(): void {
    for (const { pane } of this.#panes) pane.drawOverlay();
  }

  async #askContours(scan: ScanInfo, position: number): Promise<void> {
    const key = `${scan.index}/${this.#cut.plane}/${position}`;
    if (!scan.deposits.length || this.#contours.has(key)) return;
    const path = `/follow-ups/${this.from.id}/scans/${key}/contours`;
    const told = await this.api.get<{ contours: Record<string, Point[][]> }>(path, this.from.query, this.#closed.signal);
    this.#contours.set(key, told.contours);
  }

  #drawContours(pen: Pen, scan: ScanInfo): void {
    if (!this.#outlined) return;
    const found = this.#contours.get(`${scan.index}/${this.#cut.plane}/${this.#position}`) ?? {};
    for (const [lesion, lines] of Object.entries(found)) {
      const colour = lesionColour(this.#lesions, lesion);
      for (const line of lines) pen.line(line.map((point) => this.#onScreen(point)), colour, 1.5, { closed: true });
      if (lines[0]?.[0]) pen.label(this.#onScreen(lines[0][0]), lesion, colour);
    }
  }

  #drawOwn(pen: Pen, scan: ScanInfo): void {
    if (scan.alignment.shown === "reference" && this.#cut.plane === "axial") this.#outlining.drawOn(pen, this.#position);
  }

  #onScreen([row, col]: Point): Point {
    return this.#cut.flipped ? [this.#cut.rows - 1 - row, col] : [row, col];
  }

  // --- tools ---

  #showTools(): void {
    const first = this.#panes[0]?.pane;
    const group = (label: string, ...content: Node[]): HTMLElement => el("div", { class: "group", attrs: { role: "group", "aria-label": label } }, ...content);
    fill(
      this.#tools,
      group("Plane", ...PLANES.map((plane) => button({ label: plane[0]!.toUpperCase() + plane.slice(1), pressed: plane === this.#cut.plane, act: () => this.#cutBy(plane) }))),
      group("Window", ...WINDOWS.map(([label, center, width]) => button({ label, title: `Window ${center} / ${width} HU`, act: () => this.#setWindow(center, width) }))),
      group(
        "Picture",
        button({ label: "Deposit", title: "Outline of the deposit (O)", pressed: this.#outlined, act: () => this.#toggleOutline() }),
        button({ label: "Zoom in", glyph: "+", act: () => first?.zoomBy(1.25) }),
        button({ label: "Zoom out", glyph: "−", act: () => first?.zoomBy(0.8) }),
        button({ label: "Reset", title: "Reset window and zoom (R)", act: () => this.#reset() }),
        button({ label: "Measure", title: "Measure a distance (M)", pressed: first?.tool?.name === "measure", act: () => this.#measure() }),
      ),
      this.#outlining.buttons(),
    );
    this.#showWindow();
  }

  #use(tool: Tool | null, on: Pane[], buttons: Node[] = []): void {
    for (const { pane } of this.#panes) {
      pane.tool = on.includes(pane) ? tool : null;
      pane.element.dataset.tool = pane.tool?.name ?? "";
    }
    this.#toolbar.hidden = tool === null;
    if (tool) {
      const where = buttons.length ? " On the reference scan, slice by slice." : "";
      const leave = button({ label: "Leave", title: "Leave (Esc)", act: () => this.#outlining.leave() });
      fill(this.#toolbar, el("span", { class: "hint", attrs: { role: "status" } }, `${tool.hint}${where}`), ...buttons, leave);
    }
    this.#showTools();
    this.drawOverlays();
  }

  #measure(): void {
    const say = (words: string): void => {
      const hint = this.#toolbar.querySelector(".hint");
      if (hint) hint.textContent = words;
    };
    this.#outlining.leave();
    this.#use(new Measure(this.#cut.spacing, "slice", () => this.drawOverlays(), say), this.#panes.map(({ pane }) => pane));
  }

  #toggleOutline(): void {
    this.#outlined = !this.#outlined;
    this.#showTools();
    this.drawOverlays();
  }

  #reset(): void {
    for (const { pane } of this.#panes) pane.view.fit();
    this.#setWindow(this.told.window.center, this.told.window.width);
  }

  /** Take back a step of the tool that is held; whether there was one. */
  undo(): boolean {
    return this.#panes.some(({ pane }) => pane.tool?.undo?.());
  }

  keys(): Key[] {
    const group = "Slices";
    const zoom = (by: number) => (): void => this.#panes[0]?.pane.zoomBy(by);
    return [
      { keys: ["ArrowUp", "ArrowLeft"], says: "Slice before", group, act: () => this.go(this.#position - 1) },
      { keys: ["ArrowDown", "ArrowRight"], says: "Next slice", group, act: () => this.go(this.#position + 1) },
      { keys: ["PageUp"], says: "Ten slices back", group, act: () => this.go(this.#position - 10) },
      { keys: ["PageDown"], says: "Ten slices on", group, act: () => this.go(this.#position + 10) },
      ...PLANES.map((plane, number): Key => ({ keys: [String(number + 1)], says: plane[0]!.toUpperCase() + plane.slice(1), group, act: () => this.#cutBy(plane) })),
      { keys: ["o"], says: "Outline of the deposit", group, act: () => this.#toggleOutline() },
      { keys: ["+", "="], says: "Zoom in", group, act: zoom(1.25) },
      { keys: ["-"], says: "Zoom out", group, act: zoom(0.8) },
      { keys: ["r"], says: "Reset window and zoom", group, act: () => this.#reset() },
      { keys: ["m"], says: "Measure", group, act: () => this.#measure() },
      { keys: ["b"], says: "Brush", group: "Corrections", act: () => this.#outlining.draw("brush") },
      { keys: ["p"], says: "Polygon", group: "Corrections", act: () => this.#outlining.draw("polygon") },
      { keys: ["Enter"], says: "Keep what is drawn on this slice", group: "Corrections", act: () => this.#reference?.tool?.keep?.() },
      { keys: ["Escape"], says: "Leave the tool", group: "Corrections", act: () => this.#outlining.leave() },
    ];
  }
}
