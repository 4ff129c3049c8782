/** One run: its frames, what the analysis found on them, and the reader's word on it. */

import type { CaseAnswer, Edit, EditWords, Feeder, FramesAnswer, JobAnswer, LayerName, LinkedCase, Point, ResultKind, SnapAnswer, Tumour } from "../base/answers";
import { addressOf, sentenceOf, type Api } from "../base/api";
import { Corrections } from "../base/corrections";
import { button, el, fill, select, setPressed } from "../base/dom";
import { setKeys, type Key } from "../base/keys";
import { ask, notify } from "../base/notices";
import { SaveBar } from "../base/save-bar";
import { remember, settings } from "../base/settings";
import { angulation, day, num, percent } from "../base/words";
import { Cine } from "../image/cine";
import type { Pen } from "../image/overlay";
import { Pane, type Tool } from "../image/pane";
import { PixelStore, askFrames, frameStack, prefetch, type ShiftPx, type Stack } from "../image/stack";
import { Painted } from "../image/trace";
import { neighbour } from "../worklist/worklist";
import { Companion } from "./companion";
import { CurvesPanel } from "./curves-panel";
import { FeederList } from "./feeder-list";
import { NoteForm, PHASES, PhaseForm, about, applyLayers, arrivalLegend, editList, exportLinks, layerRows, phasesOf, rememberedLayers, section, type Shown } from "./panels";
import { isRemoved, placeOf, placedTargets, redrawn, verdictOn } from "./readings";
import { LAYERS, RunResults, type ArrivalRange } from "./results";
import { Brush, Click, Measure, MoveTarget, Polygon } from "./tools";

const LAYER_WORDS: [LayerName, string][] = [
  ["raw", "Raw"],
  ["subtracted", "Subtracted"],
  ["corrected", "Corrected"],
];
// Below the three a second at which flashes begin to be a danger.
const FLICKER_MS = 450;
const JOB_MS = 700;
const NEW_TUMOUR = "new";
const SHIFT_STEP_PX = 0.25;

export class RunPage {
  readonly element = el("main", { class: "run", attrs: { "aria-label": "Run" } });
  readonly #closed = new AbortController();
  readonly #store: PixelStore;
  readonly #corrections: Corrections;
  readonly #saveBar: SaveBar;
  readonly #feeders: FeederList;
  readonly #curves: CurvesPanel;
  readonly #notes: NoteForm;
  readonly #layers = rememberedLayers();
  readonly #snapped = new Map<string, SnapAnswer>();
  #answer!: CaseAnswer;
  #results!: RunResults;
  #info: FramesAnswer | null = null;
  #pane: Pane | null = null;
  #companion: Companion | null = null;
  #cine: Cine | null = null;
  #phases: PhaseForm | null = null;
  #layer: LayerName = settings.layer as LayerName;
  #shift: ShiftPx = { row: 0, col: 0 };
  #stack: Stack | null = null;
  #hovered: Feeder | null = null;
  #flicker = 0;
  #missing = new Set<string>();
  #range: ArrivalRange | null = null;
  #job: JobAnswer | null = null;
  #brushTumour = NEW_TUMOUR;
  /** What lies under the parts that are made once and filled again and again. */
  readonly #parts = {
    title: el("div", { class: "row title" }),
    tools: el("div", { class: "row tools", attrs: { role: "toolbar", "aria-label": "Picture" } }),
    toolbar: el("div", { class: "row toolbar", attrs: { hidden: true } }),
    panes: el("div", { class: "panes" }),
    cine: el("div", { class: "cine" }),
    legend: el("div", { class: "legendhost" }),
    layers: el("div"),
    edits: el("div"),
    about: el("div"),
    again: el("div"),
  };

  constructor(
    private readonly api: Api,
    private readonly id: string,
    private readonly go: (hash: string) => void,
  ) {
    this.#store = new PixelStore(api);
    this.#corrections = new Corrections(api, id, () => this.#showReadings(), (sentence) => notify(sentence, "failed"));
    this.#saveBar = new SaveBar(this.#corrections);
    const add = (words: EditWords): void => void this.#add(words);
    this.#feeders = new FeederList({
      hover: (feeder) => this.#hover(feeder),
      choose: (feeder) => void this.#choose(feeder),
      add,
      takeBack: (edit) => this.#corrections.remove(edit.id),
      draw: (tumour) => this.#draw("brush", tumour),
    });
    this.#curves = new CurvesPanel(api, id, () => this.#time_s(), (time) => this.#seek(time));
    this.#notes = new NoteForm((text) => this.#corrections.type(text), add, () => this.#use(this.#notePlace()));
  }

  // --- opening ---

  async start(): Promise<void> {
    const { signal } = this.#closed;
    this.#answer = await this.api.get<CaseAnswer>(`/cases/${this.id}`, {}, signal);
    this.#lay();
    if (!this.#answer.row.analysed) {
      this.#waitingPicture(this.#answer.row.problem ?? "This run was not analysed.");
      return;
    }
    this.#waitingPicture("The frames are being prepared…");
    const frames = this.#openFrames(signal);
    await Promise.all([this.#openResult("original", signal), this.#corrections.load(), frames]);
  }

  dispose(): void {
    this.#closed.abort();
    clearInterval(this.#flicker);
    this.#cine?.stop();
    this.#corrections.close();
    this.#companion?.dispose();
    this.#pane?.dispose();
    this.#curves.dispose();
  }

  /** Frames and analysis come side by side; whoever is last lays the overlay. */
  async #openFrames(signal: AbortSignal): Promise<void> {
    const info = await askFrames(this.api, this.id, (told) => this.#waitingPicture(told.sentence), signal);
    if (!info) return;
    this.#info = info;
    this.#answer.source.available = true;
    if (this.#results) this.#showAgain();
    this.#openPane(info);
    await this.#cine!.go(info.reference_frame ?? 0);
    this.#showTools();
    void this.#showOverlay();
    const going = (): boolean => !signal.aborted;
    void prefetch(this.#stack!, this.#cine!.number, going);
  }

  async #openResult(kind: ResultKind, signal: AbortSignal): Promise<void> {
    const results = new RunResults(this.api, this.#answer, kind);
    await results.load(signal);
    this.#results = results;
    this.element.dataset.result = kind;
    this.#curves.show(results.curves);
    this.#phases ??= new PhaseForm(results.analysis.image.frames, () => this.#cine?.number ?? 0, (words) => this.#add(words));
    this.#phases.show(phasesOf(results.analysis, this.#corrections.edits));
    this.#laySide();
    this.#showReadings();
    void this.#showAbout(kind);
    await this.#showOverlay();
  }

  #openPane(info: FramesAnswer): void {
    const pane = new Pane(`Frames of ${this.#answer.row.label}`, info.rows, info.columns, {
      view: () => this.#companion?.mirror(),
      grey: () => (this.#companion?.mirror(), this.#showCorners()),
      wheel: (steps) => this.#cine!.step(steps),
      click: (point) => void this.#pick(point),
    });
    pane.overlay.drawings.push((pen) => this.#drawFindings(pen), (pen) => this.#drawReadings(pen), (pen) => pane.tool?.draw?.(pen));
    this.#pane = pane;
    this.#parts.panes.replaceChildren(el("div", { class: "panehost" }, pane.element, this.#parts.legend));
    this.#cine = new Cine(info.times_s, settings, (number) => this.#showFrame(number), () => this.#showCine());
    if (!info.layers[this.#layer]) this.#layer = info.layers.corrected ? "corrected" : "raw";
    this.#turnTo(this.#layer, false);
    this.#layCine();
  }

  // --- frames ---

  #turnTo(layer: LayerName, show = true): void {
    const told = this.#info?.layers[layer];
    if (!told || !this.#pane) return;
    const other = layer !== this.#layer || !this.#stack;
    this.#layer = layer;
    if (!this.#flicker) remember({ layer });
    if (other) {
      this.#pane.values = { slope: told.slope, intercept: told.intercept };
      // A window that the reader chose stays with its layer's unit: raw values are not attenuation.
      const sameUnit = this.#unit === told.unit && this.#stack;
      if (!sameUnit) Object.assign(this.#pane, { window: { ...told.window }, inverted: told.dark_is_contrast });
      this.#unit = told.unit;
    }
    this.#stack = frameStack(this.#store, this.id, this.#info!, layer, this.#shift);
    if (show) {
      void this.#showFrame(this.#cine!.number);
      const stack = this.#stack;
      void prefetch(stack, this.#cine!.number, () => !this.#closed.signal.aborted && this.#stack === stack);
      this.#companion?.turnTo(layer, this.#cine!.number);
    }
    this.#showTools();
  }

  #unit = "";

  async #showFrame(number: number): Promise<void> {
    try {
      await Promise.all([this.#pane!.show(this.#stack!, number), this.#companion?.follow(number)]);
    } catch (error) {
      if (!this.#closed.signal.aborted) notify(sentenceOf(error), "failed");
      this.#cine!.stop();
    }
  }

  #flickerOn(on: boolean): void {
    clearInterval(this.#flicker);
    const other: LayerName = this.#info?.layers.subtracted ? "subtracted" : "raw";
    const flip = (): void => this.#turnTo(this.#layer === "corrected" ? other : "corrected");
    this.#flicker = on ? window.setInterval(flip, FLICKER_MS) : 0;
    if (!on) this.#turnTo("corrected");
    this.#showTools();
  }

  #time_s(): number | null {
    return this.#cine ? (this.#info?.times_s[this.#cine.number] ?? this.#cine.number) : null;
  }

  #seek(time_s: number): void {
    if (!this.#cine) return;
    const away = this.#info!.times_s.map((time, at) => Math.abs((time ?? at) - time_s));
    this.#cine.stop();
    void this.#cine.go(away.indexOf(Math.min(...away)));
  }

  async #pick(point: Point): Promise<void> {
    if (!this.#pane!.view.holds(point)) return;
    this.#picked = point;
    this.#pane!.drawOverlay();
    await this.#curves.pick(point);
  }

  #picked: Point | null = null;

  #setShift(row: number, col: number): void {
    this.#shift = { row, col };
    if (this.#layer === "subtracted") this.#turnTo("subtracted");
    else this.#turnTo("subtracted");
  }

  // --- layout ---

  #lay(): void {
    const { row } = this.#answer;
    document.title = `${row.subject} ${row.label} – angio review`;
    const { title, tools, toolbar, panes, cine } = this.#parts;
    fill(
      title,
      button({ label: "Worklist", glyph: "‹ Worklist", act: () => this.go("#/") }),
      button({ label: "Case before", glyph: "↑", title: "Case before (Ctrl ↑)", act: () => void this.#neighbour(-1) }),
      button({ label: "Next case", glyph: "↓", title: "Next case (Ctrl ↓)", act: () => void this.#neighbour(1) }),
      el("h1", {}, `${row.subject}`),
      el("span", {}, `${day(row.date)} · ${row.label}`),
      el("span", { class: "gap" }),
      this.#saveBar.element,
    );
    this.#saveBar.show();
    const stage = el("div", { class: "stage" }, tools, toolbar, panes, cine, this.#curves.element);
    this.element.append(title, el("div", { class: "body" }, stage, this.#side));
    setKeys(this.#keys());
  }

  #side = el("aside", { class: "side", attrs: { "aria-label": "Findings and corrections" } });

  #laySide(): void {
    if (this.#side.childElementCount) return;
    const { layers, edits, about: told, again } = this.#parts;
    fill(
      this.#side,
      section("Tumours and feeders", true, this.#feeders.element),
      section("Layers", true, layers),
      section("Note", true, this.#notes.element),
      section("Your changes", true, edits, again),
      section("Phases", false, this.#phases!.element),
      section("About this result", false, told, exportLinks()),
    );
    this.#showLayers();
    this.#showAgain();
  }

  #showLayers(): void {
    fill(this.#parts.layers, layerRows(this.#layers, this.#missing, (layer) => void this.#layerChanged(layer)));
  }

  #waitingPicture(sentence: string): void {
    if (this.#pane) return;
    const stored = ["after", "overlay", "thumbnail"].find((name) => this.#answer.pictures.includes(name));
    const words = el("p", { class: "waiting", attrs: { role: "status" } }, sentence);
    const picture = stored && el("img", { class: "stored", attrs: { src: addressOf(`/cases/${this.id}/pictures/${stored}`), alt: "Stored picture of this run" } });
    fill(this.#parts.panes, el("div", { class: "panehost" }, picture, words));
  }

  #showTools(): void {
    const { tools } = this.#parts;
    const layers = LAYER_WORDS.filter(([name]) => this.#info?.layers[name]).map(([name, label], number) =>
      button({ label, title: `${label} (${number + 1})`, pressed: !this.#flicker && this.#layer === name, act: () => (this.#stopFlicker(), this.#turnTo(name)) }),
    );
    const tool = (name: string, label: string, title: string, make: () => void): HTMLElement =>
      button({ label, title, pressed: this.#pane?.tool?.name === name, act: () => (this.#pane?.tool?.name === name ? this.#use(null) : make()) });
    const linked = this.#answer.linked.filter((one) => one.id);
    fill(
      tools,
      el("div", { class: "group", attrs: { role: "group", "aria-label": "Shown" } }, ...layers, button({ label: "Flicker", title: "Flicker between uncorrected and corrected (F)", pressed: this.#flicker !== 0, act: () => this.#flickerOn(!this.#flicker) })),
      el(
        "div",
        { class: "group", attrs: { role: "group", "aria-label": "Picture" } },
        button({ label: "Invert", title: "Invert grey (I)", act: () => this.#invert() }),
        button({ label: "Zoom in", glyph: "+", act: () => this.#pane?.zoomBy(1.25) }),
        button({ label: "Zoom out", glyph: "−", act: () => this.#pane?.zoomBy(0.8) }),
        button({ label: "Reset", title: "Reset window, zoom and shift (R)", act: () => this.#reset() }),
        tool("measure", "Measure", "Measure a distance (M)", () => this.#measure()),
      ),
      el(
        "div",
        { class: "group", attrs: { role: "group", "aria-label": "Correct" } },
        tool("feeder", "Add feeder", "Add a feeder by one click on its vessel (C)", () => this.#addFeederTool()),
        tool("target", "Move target", "Move a target (T)", () => this.#moveTargetTool()),
        tool("brush", "Brush", "Paint a blush (B)", () => this.#draw("brush")),
        tool("polygon", "Polygon", "Outline a blush (P)", () => this.#draw("polygon")),
      ),
      linked.length > 0 && select("Beside", [["", "Nothing"], ...linked.map((one, at): [string, string] => [String(at), linkWords(one, linked)])], this.#companion ? String(linked.indexOf(this.#companion.linked)) : "", (value) => void this.#beside(value === "" ? null : linked[Number(value)]!)),
      this.#shiftFields(),
    );
  }

  /** Moving the mask by hand: shown at once, kept nowhere, and so it is said. */
  #shiftFields(): HTMLElement | null {
    if (this.#layer !== "subtracted" || this.#flicker) return null;
    const field = (label: string, value: number, set: (value: number) => void): HTMLElement => {
      const input = el("input", { attrs: { type: "number", step: SHIFT_STEP_PX, min: -32, max: 32, value, "aria-label": `Mask shift, ${label}` }, on: { change: () => set(Number(input.value) || 0) } });
      return el("label", { class: "field" }, el("span", {}, label), input);
    };
    const { row, col } = this.#shift;
    return el(
      "div",
      { class: "group shift", attrs: { role: "group", "aria-label": "Pixel shift", title: "A preview: the shift is not stored and the analysis does not use it. Alt with the arrow keys moves it as well." } },
      field("mask down, px", row, (value) => this.#setShift(value, col)),
      field("right, px", col, (value) => this.#setShift(row, value)),
    );
  }

  #stopFlicker(): void {
    clearInterval(this.#flicker);
    this.#flicker = 0;
  }

  #invert(): void {
    if (!this.#pane) return;
    this.#pane.inverted = !this.#pane.inverted;
    void this.#pane.refresh();
    this.#companion?.mirror();
  }

  #reset(): void {
    const told = this.#info?.layers[this.#layer];
    if (!told || !this.#pane) return;
    Object.assign(this.#pane, { window: { ...told.window }, inverted: told.dark_is_contrast });
    this.#pane.view.fit();
    const shifted = this.#shift.row !== 0 || this.#shift.col !== 0;
    this.#shift = { row: 0, col: 0 };
    if (shifted) this.#turnTo(this.#layer);
    void this.#pane.refresh();
    this.#companion?.mirror();
    this.#showCorners();
  }

  // --- cine ---

  #cineParts = {
    play: button({ label: "Play", glyph: "▶", class: "play", act: () => this.#cine?.toggle() }),
    scrub: el("input", { attrs: { type: "range", min: 0, value: 0, "aria-label": "Frame" } }),
    words: el("output", { class: "frameword" }),
    speed: el("span", { class: "speed" }),
    loop: button({ label: "Loop", pressed: true, act: () => this.#toggleLoop() }),
    bar: el("div", { class: "phasebar", attrs: { "aria-hidden": "true" } }),
  };

  #layCine(): void {
    const { play, scrub, words, speed, loop, bar } = this.#cineParts;
    scrub.max = String(this.#cine!.count - 1);
    scrub.addEventListener("input", () => {
      this.#cine!.stop();
      void this.#cine!.go(Number(scrub.value));
    });
    fill(
      this.#parts.cine,
      button({ label: "Frame before", glyph: "|◂", title: "Frame before (←)", act: () => this.#cine!.step(-1) }),
      play,
      button({ label: "Next frame", glyph: "▸|", title: "Next frame (→)", act: () => this.#cine!.step(1) }),
      el("div", { class: "scrub" }, scrub, bar),
      words,
      button({ label: "Slower", glyph: "−", title: "Slower (,)", act: () => this.#cine!.faster(-1) }),
      speed,
      button({ label: "Faster", glyph: "+", title: "Faster (.)", act: () => this.#cine!.faster(1) }),
      loop,
    );
    this.#showPhaseBar();
  }

  #toggleLoop(): void {
    if (!this.#cine) return;
    this.#cine.loop = !this.#cine.loop;
    this.#showCine();
  }

  #showCine(): void {
    const cine = this.#cine;
    if (!cine) return;
    const { play, scrub, words, speed, loop } = this.#cineParts;
    const playing = cine.playing;
    if (play.getAttribute("aria-label") !== (playing ? "Pause" : "Play")) {
      play.textContent = playing ? "❚❚" : "▶";
      play.setAttribute("aria-label", playing ? "Pause" : "Play");
      play.title = playing ? "Pause (Space)" : "Play (Space)";
    }
    scrub.value = String(cine.number);
    const time = num(this.#info!.times_s[cine.number], 2, "s");
    scrub.setAttribute("aria-valuetext", `Frame ${cine.number + 1} of ${cine.count}, ${time}`);
    words.textContent = `${cine.number + 1}/${cine.count} · ${time}`;
    speed.textContent = `×${cine.speed}`;
    setPressed(loop, cine.loop);
    this.element.dataset.rate = String(cine.rate);
    if (settings.speed !== cine.speed || settings.loop !== cine.loop) remember({ speed: cine.speed, loop: cine.loop });
    this.#curves.mark();
    this.#showCorners();
  }

  #showCorners(): void {
    if (!this.#pane || !this.#cine || !this.#info) return;
    const { number, playing, rate } = this.#cine;
    const { center, width } = this.#pane.window;
    const digits = width > 20 ? 0 : 3;
    const reference = number === this.#info.reference_frame ? " · reference" : "";
    const phase = this.#phaseOf(number);
    this.#pane.say("top-left", `${this.#layerWord()}${this.#results?.kind === "mine" ? " · your analysis" : ""}`, `Window ${center.toFixed(digits)} / ${width.toFixed(digits)}`);
    this.#pane.say("bottom-left", angulation(this.#info.pose_deg), `Frame ${number + 1} of ${this.#info.frames} · ${num(this.#info.times_s[number], 2, "s")}${reference}`, phase);
    this.#pane.say("bottom-right", this.#info.spacing_mm ? "" : "Not calibrated: no millimetres", playing && rate > 1 ? `${rate} frames/s` : "");
  }

  #layerWord(): string {
    return LAYER_WORDS.find(([name]) => name === this.#layer)![1];
  }

  #phaseOf(number: number): string {
    if (!this.#results) return "";
    const phases = phasesOf(this.#results.analysis, this.#corrections.edits);
    const found = PHASES.find(([name]) => phases[name] && phases[name]![0] <= number && number <= phases[name]![1]);
    return found ? `${found[1]}${found[0] === "pre_contrast" ? "" : " phase"}` : "";
  }

  #showPhaseBar(): void {
    if (!this.#results || !this.#info) return;
    const phases = phasesOf(this.#results.analysis, this.#corrections.edits);
    const frames = this.#info.frames;
    const parts = PHASES.flatMap(([name]) => {
      const range = phases[name];
      if (!range) return [];
      const part = el("span", { class: `phasepart ${name}` });
      part.style.left = `${(100 * range[0]) / frames}%`;
      part.style.width = `${(100 * (range[1] - range[0] + 1)) / frames}%`;
      return [part];
    });
    fill(this.#cineParts.bar, ...parts);
  }

  // --- what lies over the picture ---

  async #showOverlay(): Promise<void> {
    if (!this.#pane || !this.#results) return;
    const results = this.#results;
    const found = await Promise.all(LAYERS.map(([name]) => results.sheet(name).catch(() => null)));
    if (this.#closed.signal.aborted || results !== this.#results || !this.#pane) return;
    this.#missing = new Set(LAYERS.filter((_, at) => !found[at]).map(([name]) => name));
    this.#pane.overlay.sheets = found.flatMap((one) => (one ? [one.sheet] : []));
    this.#range = found.find((one) => one?.range)?.range ?? null;
    applyLayers(this.#pane.overlay, this.#layers);
    this.#showLayers();
    this.#showLegend();
    this.#pane.drawOverlay();
    this.#pane.element.dataset.overlay = results.kind;
  }

  #layerChanged(_: Shown): void {
    if (!this.#pane) return;
    applyLayers(this.#pane.overlay, this.#layers);
    this.#showLegend();
    this.#pane.drawOverlay();
  }

  #showLegend(): void {
    const shown = this.#layers.find((one) => one.name === "arrival_s")!.shown && !this.#pane?.overlay.hidden;
    fill(this.#parts.legend, shown && this.#range && arrivalLegend(this.#range));
  }

  #switchLayer(name: string): void {
    const layer = this.#layers.find((one) => one.name === name)!;
    layer.shown = !layer.shown;
    remember({ hidden: this.#layers.filter((one) => !one.shown).map((one) => one.name) });
    this.#showLayers();
    this.#layerChanged(layer);
  }

  #switchAll(): void {
    if (!this.#pane) return;
    this.#pane.overlay.hidden = !this.#pane.overlay.hidden;
    this.#showLegend();
    this.#pane.drawOverlay();
  }

  #drawFindings(pen: Pen): void {
    if (!this.#results || this.#pane!.overlay.hidden) return;
    const { tumours, shunts, catheter_tip: tip } = this.#results.analysis;
    const edits = this.#openEdits;
    const layer = (name: string): Shown => this.#layers.find((one) => one.name === name)!;
    if (tip && layer("catheter").shown) pen.label([tip.row, tip.col], "tip", "#d8d8e0");
    for (const tumour of tumours) if (layer("tumours").shown && !isRemoved(tumour, edits)) pen.label(tumour.centroid, tumour.id, "#ffcd46", [-8, 4]);
    if (layer("shunts").shown) for (const one of shunts) pen.label([one.row, one.col], `${one.kind} ${percent(one.probability)}`, "#eb6eff");
    if (layer("targets").shown) {
      pen.context.globalAlpha = 0.3 + 0.7 * layer("targets").opacity;
      this.#drawTargets(pen, edits);
      pen.context.globalAlpha = 1;
    }
    this.#drawFeeder(pen, edits);
  }

  #drawTargets(pen: Pen, edits: Edit[]): void {
    for (const { target, at } of placedTargets(this.#results.analysis.tumours, edits)) {
      const moved = at[0] !== target.row || at[1] !== target.col;
      if (moved) pen.line([[target.row, target.col], at], "#4fd1c5", 1.5, { dashed: true });
      pen.ring(at, 7, "#4fd1c5");
      pen.cross(at, 12, "#4fd1c5", 1.5);
      pen.label(at, moved ? "moved" : (target.covers ?? []).map((id) => id.replace(/^.*-/, "")).join(" "), "#4fd1c5", [11, 14]);
    }
  }

  #drawFeeder(pen: Pen, edits: Edit[]): void {
    const chosen = this.#feeders.feeders.find((one) => one.id === this.#feeders.chosen);
    const feeder = this.#hovered ?? chosen;
    if (!feeder) return;
    const rejected = verdictOn(edits, feeder).verdict === "rejected";
    const own = feeder.centreline.findIndex(([row, col]) => Math.hypot(row - feeder.branch_start[0], col - feeder.branch_start[1]) < 1);
    pen.line(feeder.centreline.slice(0, Math.max(own, 0) + 1), "rgba(255,255,255,0.75)", 2);
    pen.line(feeder.centreline.slice(Math.max(own, 0)), rejected ? "#ff7b72" : "#50e1a0", 3.5, { dashed: rejected });
    pen.ring(feeder.branch_start, 5, "#ffffff");
    pen.label(feeder.branch_start, feeder.id, "#ffffff");
  }

  /** Edits that the analysis that is shown does not hold yet. */
  get #openEdits(): Edit[] {
    const done = new Set((this.#results?.analysis as { corrections?: { id: string }[] } | undefined)?.corrections?.map((one) => one.id));
    return this.#corrections.edits.filter((one) => this.#results?.kind === "original" || !done.has(one.id));
  }

  #drawReadings(pen: Pen): void {
    if (this.#pane!.overlay.hidden) return;
    for (const edit of this.#openEdits) {
      if (edit.kind === "add_feeder") this.#drawAdded(pen, edit);
      if (edit.kind === "note" && edit.point) {
        pen.cross(edit.point, 8, "#ffffff");
        pen.label(edit.point, edit.text.length > 32 ? `${edit.text.slice(0, 31)}…` : edit.text, "#ffffff");
      }
      if (edit.kind === "add_tumour") for (const line of edit.polygons ?? []) pen.line(line, "#ffcd46", 2, { closed: true, dashed: true });
    }
    for (const tumour of this.#results?.analysis.tumours ?? []) {
      for (const line of redrawn(tumour, this.#openEdits) ?? []) pen.line(line, "#ffcd46", 2, { closed: true, dashed: true });
    }
    if (this.#picked) pen.ring(this.#picked, 5, "#ffffff", 1.5);
  }

  #drawAdded(pen: Pen, edit: Edit & { kind: "add_feeder" }): void {
    const snapped = this.#snapped.get(edit.id);
    if (snapped?.found) pen.line(snapped.centreline, "#50e1a0", 3, { dashed: true });
    pen.ring(edit.click, 6, "#50e1a0");
    pen.label(edit.click, "added", "#50e1a0");
  }

  #hover(feeder: Feeder | null): void {
    this.#hovered = feeder;
    this.#pane?.drawOverlay();
  }

  async #choose(feeder: Feeder | null): Promise<void> {
    this.#pane?.drawOverlay();
    if (this.#info) await this.#curves.structure(feeder?.id ?? null, this.#results.kind);
  }

  // --- tools ---

  #use(tool: Tool | null): void {
    const pane = this.#pane;
    if (!pane) return;
    pane.tool?.stop?.();
    pane.tool = tool;
    pane.element.dataset.tool = tool?.name ?? "";
    this.#showTools();
    this.#showToolbar(tool);
    pane.drawOverlay();
  }

  #showToolbar(tool: Tool | null): void {
    const { toolbar } = this.#parts;
    toolbar.hidden = tool === null;
    if (!tool) return;
    const brush = tool instanceof Brush ? tool : null;
    const region = brush || tool instanceof Polygon;
    const size = el("input", {
      attrs: { type: "range", min: 1, max: 40, value: brush?.radius ?? 6, "aria-label": "Size of the brush" },
      on: { input: () => brush && (brush.radius = Number(size.value)) },
    });
    fill(
      toolbar,
      el("span", { class: "hint", attrs: { role: "status" } }, tool.hint),
      region && this.#tumourChoice(tool.name as "brush" | "polygon"),
      brush && el("label", { class: "field" }, el("span", {}, "Size"), size),
      brush && button({ label: "Wipe", pressed: brush.wiping, act: () => ((brush.wiping = !brush.wiping), this.#showToolbar(tool)) }),
      region && button({ label: "Keep", class: "primary", title: "Keep (Enter)", act: () => tool.keep?.() }),
      button({ label: region ? "Leave without keeping" : "Leave", title: "Leave (Esc)", act: () => this.#use(null) }),
    );
  }

  #tumourChoice(name: "brush" | "polygon"): HTMLElement {
    const options: [string, string][] = [...this.#tumours.map((one): [string, string] => [one.id, one.id]), [NEW_TUMOUR, "A new one"]];
    return select("Blush of", options, this.#brushTumour, (value) => this.#draw(name, this.#tumours.find((one) => one.id === value) ?? null));
  }

  get #tumours(): Tumour[] {
    return this.#results?.analysis.tumours ?? [];
  }

  #redraw = (): void => this.#pane?.drawOverlay();

  #sayMeasured(words: string): void {
    const hint = this.#parts.toolbar.querySelector(".hint");
    if (hint) hint.textContent = words;
  }

  #measure(): void {
    const plane = this.#results?.analysis.image.spacing_plane ?? "";
    this.#use(new Measure(this.#info?.spacing_mm ?? null, plane, this.#redraw, (words) => this.#sayMeasured(words)));
  }

  #notePlace(): Tool {
    return new Click("note", "Click the place that the note is about.", (point) => {
      this.#notes.at(point);
      this.#use(null);
    });
  }

  #addFeederTool(): void {
    if (!this.#tumours.length) return notify("There is no tumour that a feeder could be added to. Outline one first.", "failed");
    this.#use(new Click("feeder", "Click the vessel that supplies the tumour: its way is found along the tree.", (point) => void this.#addFeeder(point)));
  }

  async #addFeeder(click: Point): Promise<void> {
    const tumour = await this.#whichTumour(click);
    if (!tumour) return;
    try {
      const snapped = await this.#snap(tumour.id, click);
      if (!snapped.found) return notify(snapped.sentence, "failed");
      const edit = this.#add({ kind: "add_feeder", tumour: placeOf(tumour), click });
      this.#snapped.set(edit.id, snapped);
      notify(`Feeder added to ${tumour.id}. It is measured when the case is analysed again.`);
      this.#redraw();
    } catch (error) {
      notify(sentenceOf(error), "failed");
    }
  }

  #snap(tumour: string, click: Point): Promise<SnapAnswer> {
    return this.api.post<SnapAnswer>(`/cases/${this.id}/snap?result=${this.#results.kind}`, { tumour, click });
  }

  /** The tumour a click is for: the only one, that of the chosen feeder, or the reader's answer. */
  async #whichTumour(click: Point): Promise<Tumour | undefined> {
    const open = this.#tumours.filter((one) => !isRemoved(one, this.#openEdits));
    if (open.length <= 1) return open[0];
    const away = (one: Tumour): number => Math.hypot(one.centroid[0] - click[0], one.centroid[1] - click[1]);
    const near = open.toSorted((a, b) => away(a) - away(b));
    const answer = await ask("Which tumour?", "Which tumour does this vessel supply?", near.map((one): [string, string] => [one.id, one.id]));
    return open.find((one) => one.id === answer);
  }

  #moveTargetTool(): void {
    const targets = (): ReturnType<typeof placedTargets> => placedTargets(this.#tumours, this.#openEdits);
    if (!targets().length) return notify("There is no target in this run.", "failed");
    this.#use(
      new MoveTarget(
        targets,
        (point) => this.#pane!.view.toScreen(point),
        ({ tumour, target }, to) => {
          const of = this.#tumours.find((one) => one.id === tumour)!;
          this.#add({ kind: "move_target", tumour: placeOf(of), origin: [target.row, target.col], to: rounded(to) });
        },
        this.#redraw,
      ),
    );
  }

  #draw(name: "brush" | "polygon", tumour?: Tumour | null): void {
    if (!this.#pane || !this.#info) return;
    const chosen = tumour === undefined ? (this.#tumours.find((one) => one.id === this.#brushTumour) ?? null) : tumour;
    this.#brushTumour = chosen?.id ?? NEW_TUMOUR;
    const done = (polygons: Point[][]): void => this.#keepRegion(chosen, polygons);
    if (name === "polygon") {
      const before = chosen ? (redrawn(chosen, this.#openEdits) ?? []) : [];
      return this.#use(new Polygon(done, this.#redraw, before));
    }
    const painted = new Painted(this.#info.rows, this.#info.columns);
    const brush = new Brush(painted, done, this.#redraw);
    brush.radius = Math.max(3, Math.round(this.#info.rows / 80));
    this.#use(brush);
    if (chosen) void this.#results.mask(chosen.id).then((mask) => (painted.take(mask), this.#redraw()));
  }

  #keepRegion(tumour: Tumour | null, polygons: Point[][]): void {
    if (!polygons.length) return notify("Nothing is drawn yet.", "failed");
    if (tumour) this.#add({ kind: "redraw_tumour", tumour: placeOf(tumour), polygons });
    else this.#add({ kind: "add_tumour", polygons });
    this.#use(null);
  }

  // --- corrections ---

  #add(words: EditWords): Edit {
    const reference = this.#results.analysis.subtraction.reference_frame;
    const other = reference !== this.#answer.reference_frame ? reference : undefined;
    return this.#corrections.add(words, other);
  }

  #showReadings(): void {
    this.#saveBar.show();
    const { answer, edits } = this.#corrections;
    this.element.dataset.edits = String(edits.length);
    if (answer) this.#notes.resume(answer.draft);
    const takeBack = (edit: Edit): void => this.#corrections.remove(edit.id);
    fill(this.#parts.edits, editList(edits, takeBack, (point) => this.#look(point)));
    if (!this.#results) return;
    this.#feeders.show(this.#tumours, this.#openEdits);
    this.#phases?.show(phasesOf(this.#results.analysis, edits));
    this.#showPhaseBar();
    this.#showCorners();
    void this.#snapAgain(edits);
    this.#pane?.drawOverlay();
  }

  /** After a reload the ways of added feeders are asked for again: only the click is stored. */
  async #snapAgain(edits: Edit[]): Promise<void> {
    for (const edit of edits) {
      if (edit.kind !== "add_feeder" || this.#snapped.has(edit.id) || !edit.tumour.id) continue;
      this.#snapped.set(edit.id, { found: false, sentence: "", centreline: [], branch_start: null, gap_px: null });
      const found = await this.#snap(edit.tumour.id, edit.click).catch(() => null);
      if (found) this.#snapped.set(edit.id, found);
      this.#redraw();
    }
  }

  #look(point: Point): void {
    const view = this.#pane?.view;
    if (!view) return;
    view.scale = Math.max(view.scale, view.fitScale * 2);
    view.center = [...point];
    void this.#pane!.refresh();
    this.#companion?.mirror();
  }

  // --- analysed again ---

  #showAgain(): void {
    const job = this.#job;
    const running = job !== null && (job.state === "waiting" || job.state === "running");
    const progress = el("progress", { attrs: { max: job?.total || undefined, value: job?.total ? job.done : undefined, "aria-label": "Analysis" } });
    const results: [ResultKind, string][] = [["original", "Original"], ["mine", "Yours"]];
    const has = this.#answer.results.includes("mine");
    fill(
      this.#parts.again,
      el("div", { class: "row" }, button({ label: "Analyse again with my changes", class: "primary", disabled: running || !this.#answer.source.available, act: () => void this.#analyseAgain() }), has && select("Result", results, this.#results?.kind ?? "original", (kind) => void this.#switchResult(kind as ResultKind))),
      !this.#answer.source.available && el("p", { class: "quiet" }, this.#answer.source.sentence),
      running && el("div", { class: "row" }, progress, el("span", { attrs: { role: "status" } }, job.sentence || "Waiting…")),
      job && !running && el("p", { class: job.state === "failed" ? "bad" : "quiet", attrs: { role: "status", "data-job": job.state } }, job.sentence || "Analysed again."),
      job && job.not_applied.length > 0 && el("ul", { class: "bad" }, ...job.not_applied.map((one) => el("li", {}, one))),
    );
  }

  async #analyseAgain(): Promise<void> {
    try {
      if (this.#corrections.save !== "saved") notify("Some changes are still being saved; they are not part of this analysis.");
      this.#job = await this.api.post<JobAnswer>(`/cases/${this.id}/reanalysis`);
      while (this.#job.state === "waiting" || this.#job.state === "running") {
        this.#showAgain();
        await new Promise((resolve) => setTimeout(resolve, JOB_MS));
        if (this.#closed.signal.aborted) return;
        this.#job = await this.api.get<JobAnswer>(`/jobs/${this.#job.id}`);
      }
      if (this.#job.state === "done") await this.#switchResult("mine");
      else notify(this.#job.sentence, "failed");
    } catch (error) {
      this.#job = null;
      notify(sentenceOf(error), "failed");
    }
    this.#showAgain();
  }

  async #switchResult(kind: ResultKind): Promise<void> {
    const { signal } = this.#closed;
    try {
      this.#answer = await this.api.get<CaseAnswer>(`/cases/${this.id}`, { result: kind }, signal);
      await this.#openResult(kind, signal);
      this.#showAgain();
    } catch (error) {
      if (!signal.aborted) notify(sentenceOf(error), "failed");
    }
  }

  async #showAbout(kind: ResultKind): Promise<void> {
    const told = await this.api.get<{ objects: string[] }>(`/cases/${this.id}/objects`, { result: kind }).catch(() => ({ objects: [] }));
    fill(this.#parts.about, about(this.#answer, this.#results.analysis, told.objects, kind));
  }

  // --- beside ---

  async #beside(linked: LinkedCase | null): Promise<void> {
    this.#companion?.dispose();
    this.#companion = null;
    if (linked && this.#pane && this.#info) {
      const main = { pane: this.#pane, info: this.#info, analysis: this.#results.analysis };
      this.#companion = new Companion(this.api, this.#store, linked, main);
      this.#parts.panes.append(this.#companion.element);
      await this.#companion.open(this.#layer);
    }
    this.#showTools();
  }

  async #neighbour(step: 1 | -1): Promise<void> {
    const next = await neighbour(this.api, this.id, step);
    if (next) this.go(`#/case/${next}`);
    else notify(step > 0 ? "This is the last case of the worklist." : "This is the first case of the worklist.");
  }

  // --- keyboard ---

  #keys(): Key[] {
    const picture = "Picture";
    const frames = "Frames";
    const correct = "Corrections";
    const shift = (row: number, col: number) => (): void => this.#setShift(this.#shift.row + row * SHIFT_STEP_PX, this.#shift.col + col * SHIFT_STEP_PX);
    const layers = LAYER_WORDS.map(([name, label], number): Key => ({ keys: [String(number + 1)], says: label, group: picture, act: () => (this.#stopFlicker(), this.#turnTo(name)) }));
    return [
      { keys: [" "], says: "Play or pause", group: frames, act: () => this.#cine?.toggle() },
      { keys: ["ArrowLeft"], says: "Frame before", group: frames, act: () => this.#cine?.step(-1) },
      { keys: ["ArrowRight"], says: "Next frame", group: frames, act: () => this.#cine?.step(1) },
      { keys: ["Home"], says: "First frame", group: frames, act: () => void this.#cine?.go(0) },
      { keys: ["End"], says: "Last frame", group: frames, act: () => void this.#cine?.go(this.#cine.count - 1) },
      { keys: [","], says: "Slower", group: frames, act: () => this.#cine?.faster(-1) },
      { keys: ["."], says: "Faster", group: frames, act: () => this.#cine?.faster(1) },
      { keys: ["l"], says: "Loop", group: frames, act: () => this.#toggleLoop() },
      ...layers,
      { keys: ["f"], says: "Flicker", group: picture, act: () => this.#flickerOn(!this.#flicker) },
      { keys: ["i"], says: "Invert", group: picture, act: () => this.#invert() },
      { keys: ["+", "="], says: "Zoom in", group: picture, act: () => this.#pane?.zoomBy(1.25) },
      { keys: ["-"], says: "Zoom out", group: picture, act: () => this.#pane?.zoomBy(0.8) },
      { keys: ["r"], says: "Reset window, zoom and shift", group: picture, act: () => this.#reset() },
      { keys: ["m"], says: "Measure", group: picture, act: () => this.#measure() },
      { keys: ["o"], says: "All overlays on or off", group: picture, act: () => this.#switchAll() },
      { keys: ["a"], says: "Arteries on or off", group: picture, act: () => this.#switchLayer("artery") },
      { keys: ["s"], says: "Blush on or off", group: picture, act: () => this.#switchLayer("tumours") },
      { keys: ["g"], says: "Arrival colours on or off", group: picture, act: () => this.#switchLayer("arrival_s") },
      { keys: ["alt+ArrowUp"], says: "Mask up by a quarter pixel", group: picture, act: shift(-1, 0) },
      { keys: ["alt+ArrowDown"], says: "Mask down", group: picture, act: shift(1, 0) },
      { keys: ["alt+ArrowLeft"], says: "Mask left", group: picture, act: shift(0, -1) },
      { keys: ["alt+ArrowRight"], says: "Mask right", group: picture, act: shift(0, 1) },
      { keys: ["ArrowDown", "j"], says: "Next feeder", group: correct, act: () => this.#feeders.move(1) },
      { keys: ["ArrowUp", "k"], says: "Feeder before", group: correct, act: () => this.#feeders.move(-1) },
      { keys: ["y"], says: "Accept the chosen feeder", group: correct, act: () => this.#feeders.judge("accept_feeder") },
      { keys: ["x"], says: "Reject the chosen feeder", group: correct, act: () => this.#feeders.judge("reject_feeder") },
      { keys: ["c"], says: "Add a feeder by a click", group: correct, act: () => this.#addFeederTool() },
      { keys: ["t"], says: "Move a target", group: correct, act: () => this.#moveTargetTool() },
      { keys: ["b"], says: "Brush", group: correct, act: () => this.#draw("brush") },
      { keys: ["p"], says: "Polygon", group: correct, act: () => this.#draw("polygon") },
      { keys: ["n"], says: "Write a note", group: correct, act: () => this.#notes.element.querySelector("textarea")?.focus() },
      { keys: ["Enter"], says: "Keep what is drawn", group: correct, act: () => this.#pane?.tool?.keep?.() },
      { keys: ["Escape"], says: "Leave the tool", group: correct, act: () => this.#use(null) },
      { keys: ["ctrl+z"], says: "Undo", group: correct, act: () => this.#pane?.tool?.undo?.() || this.#corrections.undo() },
      ...this.#saveBar.keys().filter((key) => !key.keys.includes("ctrl+z")),
      { keys: ["ctrl+ArrowDown"], says: "Next case", group: "Worklist", act: () => void this.#neighbour(1) },
      { keys: ["ctrl+ArrowUp"], says: "Case before", group: "Worklist", act: () => void this.#neighbour(-1) },
      { keys: ["u"], says: "Back to the worklist", group: "Worklist", act: () => this.go("#/") },
    ];
  }
}

function rounded([row, col]: Point): Point {
  return [Math.round(row * 100) / 100, Math.round(col * 100) / 100];
}

function linkWords(linked: LinkedCase, all: LinkedCase[]): string {
  const words = { before: "Run before embolisation", after: "Run after embolisation", projection: "Other projection" }[linked.relation];
  const same = all.filter((one) => one.relation === linked.relation);
  return same.length > 1 ? `${words} ${same.indexOf(linked) + 1}` : words;
}
