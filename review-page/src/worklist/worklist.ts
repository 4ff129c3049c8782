/** All cases: filtered and sorted by the server, only the rows in sight held as elements, so that thousands scroll. */

import type { CaseRow, Facets, WorklistAnswer } from "../base/answers";
import { addressOf, sentenceOf, type Api, type Query } from "../base/api";
import { button, el, fill, select } from "../base/dom";
import { setKeys } from "../base/keys";
import { notify } from "../base/notices";
import { remember, settings } from "../base/settings";
import { prepareAhead } from "../image/stack";
import { STATE_WORDS, day, plain } from "../base/words";

const PAGE = 100;
const SPARE_ROWS = 4;
const TYPING_MS = 200;
const INDEXING_MS = 1500;
// How long a row is chosen before its frames are prepared ahead.
const IDLE_MS = 1200;

/** Filter, place and order, kept while the reader looks at a case. */
interface Place {
  q: string;
  kind: string;
  state: string;
  flag: string;
  top: number;
  chosen: number;
}

const place: Place = { q: "", kind: "", state: "", flag: "", top: 0, chosen: 0 };

function query(): Query {
  const { q, kind, state, flag } = place;
  return { q, kind, state, flag, sort: settings.sort, descending: settings.descending };
}

/** The case before or after one in the order of the worklist. */
export async function neighbour(api: Api, id: string, step: 1 | -1): Promise<CaseRow | null> {
  const from = Math.max(0, place.chosen - 1);
  const told = await api.get<WorklistAnswer>("/worklist", { ...query(), offset: from, limit: 3 });
  const at = told.cases.findIndex((row) => row.id === id);
  return (at < 0 ? undefined : told.cases[at + step]) ?? null;
}

/** Go to the case before or after one, or say that there is none. */
export async function goToNeighbour(api: Api, id: string, step: 1 | -1, go: (hash: string) => void): Promise<void> {
  const next = await neighbour(api, id, step);
  if (!next) return notify(`This is the ${step > 0 ? "last" : "first"} case of the worklist.`);
  place.chosen = Math.max(0, place.chosen + step);
  go(`#/case/${next.id}`);
}

const COLUMNS: [sort: string, label: string, name: string][] = [
  ["", "", "picture"],
  ["subject", "Patient", "subject"],
  ["date", "Date", "date"],
  ["", "Case", "label"],
  ["findings", "Findings", "findings"],
  ["flags", "Flags", "flags"],
  ["state", "Review", "state"],
  ["edits", "Edits", "edits"],
];

export class Worklist {
  readonly element = el("main", { class: "worklist", attrs: { "aria-label": "Worklist" } });
  #scroller = el("div", { class: "scroller", attrs: { role: "presentation" } });
  #space = el("div", { class: "space", attrs: { role: "rowgroup" } });
  #rows = new Map<number, HTMLElement>();
  #pages = new Map<number, Promise<void>>();
  #cases = new Map<number, CaseRow>();
  #count = el("span", { class: "quiet", attrs: { role: "status" } });
  #head = el("div", { class: "tablehead", attrs: { role: "row" } });
  #filters = el("div", { class: "row filters" });
  #empty = el("p", { class: "empty", attrs: { hidden: true } });
  #total = 0;
  #asked = 0;
  #typing = 0;
  #idle = 0;
  #rowHeight = 56;
  #closed = new AbortController();

  constructor(
    private readonly api: Api,
    private readonly open: (row: CaseRow) => void,
  ) {
    const grid = el("div", { class: "table", attrs: { role: "grid", "aria-label": "Cases" } }, this.#head, this.#scroller);
    this.#scroller.append(this.#space);
    this.element.append(this.#filters, this.#empty, grid);
    this.#scroller.addEventListener("scroll", () => this.#draw(), { passive: true });
    window.addEventListener("resize", () => this.#draw(), { signal: this.#closed.signal });
    this.#showHead();
    this.#bindKeys();
  }

  async start(): Promise<void> {
    this.#rowHeight = 4 * parseFloat(getComputedStyle(document.documentElement).fontSize);
    await this.#again(place.top);
    const facets = await this.api.get<Facets>("/worklist/facets");
    if (this.#closed.signal.aborted) return;
    this.#showFilters(facets);
    this.#prepareChosen();
  }

  dispose(): void {
    clearTimeout(this.#idle);
    this.#closed.abort();
  }

  /** Have the frames of the chosen case prepared while the reader looks at the list. */
  #prepareChosen(): void {
    clearTimeout(this.#idle);
    const prepare = (): void => void prepareAhead(this.api, this.#cases.get(place.chosen) ?? null, this.#closed.signal);
    this.#idle = window.setTimeout(prepare, IDLE_MS);
  }

  // --- asking ---

  async #again(top = 0): Promise<void> {
    this.#asked += 1;
    this.#pages.clear();
    this.#cases.clear();
    await this.#page(Math.floor(top / this.#rowHeight / PAGE));
    this.#scroller.scrollTop = top;
    this.#rows.forEach((row) => row.remove());
    this.#rows.clear();
    this.#draw();
  }

  #page(number: number): Promise<void> {
    const asked = this.#asked;
    const found = this.#pages.get(number) ?? this.#askPage(number, asked);
    this.#pages.set(number, found);
    return found;
  }

  async #askPage(number: number, asked: number): Promise<void> {
    try {
      const told = await this.api.get<WorklistAnswer>("/worklist", { ...query(), offset: number * PAGE, limit: PAGE });
      if (asked !== this.#asked || this.#closed.signal.aborted) return;
      told.cases.forEach((row, at) => this.#cases.set(number * PAGE + at, row));
      this.#showTotal(told);
    } catch (error) {
      this.#pages.delete(number);
      this.#tellEmpty(sentenceOf(error));
    }
  }

  #showTotal({ total, indexing }: WorklistAnswer): void {
    this.#total = total;
    this.#space.style.height = `${total * this.#rowHeight}px`;
    this.#count.textContent = `${total} ${total === 1 ? "case" : "cases"}${indexing ? ", still reading results…" : ""}`;
    const filtered = place.q || place.kind || place.state || place.flag;
    const none = filtered ? "No case fits this filter." : "There are no results in this folder yet.";
    this.#tellEmpty(total || indexing ? "" : none);
    if (indexing) setTimeout(() => !this.#closed.signal.aborted && void this.#again(this.#scroller.scrollTop), INDEXING_MS);
  }

  #tellEmpty(sentence: string): void {
    this.#empty.hidden = !sentence;
    this.#empty.textContent = sentence;
  }

  // --- drawing ---

  #draw(): void {
    place.top = this.#scroller.scrollTop;
    const first = Math.max(0, Math.floor(place.top / this.#rowHeight) - SPARE_ROWS);
    const last = Math.min(this.#total, Math.ceil((place.top + this.#scroller.clientHeight) / this.#rowHeight) + SPARE_ROWS);
    for (const [at, row] of this.#rows) {
      if (at >= first && at < last) continue;
      row.remove();
      this.#rows.delete(at);
    }
    for (let at = first; at < last; at++) if (!this.#rows.has(at)) this.#place(at);
  }

  #place(at: number): void {
    const told = this.#cases.get(at);
    if (!told) {
      void this.#page(Math.floor(at / PAGE)).then(() => this.#cases.has(at) && this.#draw());
      return;
    }
    const row = this.#row(told, at);
    row.style.top = `${at * this.#rowHeight}px`;
    this.#rows.set(at, row);
    this.#space.append(row);
  }

  #row(told: CaseRow, at: number): HTMLElement {
    const row = el(
      "div",
      {
        class: `tablerow${at === place.chosen ? " chosen" : ""}`,
        attrs: { role: "row", tabindex: at === place.chosen ? 0 : -1, "aria-rowindex": at + 2, "data-case": told.id },
        on: { click: () => this.#openAt(at), focus: () => this.#mark(at) },
      },
      ...cells(told).map((content, number) =>
        el("div", { class: `cell col-${COLUMNS[number]![2]}`, attrs: { role: "gridcell" } }, ...content),
      ),
    );
    return row;
  }

  #mark(at: number): void {
    const old = this.#rows.get(place.chosen);
    old?.classList.remove("chosen");
    old?.setAttribute("tabindex", "-1");
    place.chosen = at;
    const row = this.#rows.get(at);
    row?.classList.add("chosen");
    row?.setAttribute("tabindex", "0");
    this.#prepareChosen();
  }

  #openAt(at: number): void {
    place.chosen = at;
    const told = this.#cases.get(at);
    if (told) this.open(told);
  }

  // --- head and filters ---

  #showHead(): void {
    this.#head.replaceChildren(
      ...COLUMNS.map(([sort, label, name]) => {
        const sorted = sort !== "" && settings.sort === sort;
        const direction = settings.descending ? "descending" : "ascending";
        const attrs = { role: "columnheader", "aria-sort": sorted ? direction : undefined, "aria-label": label || "Picture" };
        const arrow = sorted ? (settings.descending ? " ▾" : " ▴") : "";
        const content = sort ? button({ label: `${label}${arrow}`, class: "plain", act: () => this.#sort(sort) }) : label;
        return el("div", { class: `cell col-${name}`, attrs }, content);
      }),
    );
  }

  #sort(sort: string): void {
    remember({ sort, descending: settings.sort === sort && !settings.descending });
    this.#showHead();
    void this.#again();
  }

  #showFilters(facets: Facets): void {
    const search = el("input", {
      attrs: { type: "search", placeholder: "Patient or case", "aria-label": "Search patient or case", value: place.q },
      on: { input: () => this.#type(search.value) },
    });
    const choose = (name: "kind" | "state" | "flag") => (value: string): void => {
      place[name] = value;
      place.chosen = 0;
      void this.#again();
    };
    const counted = (counts: Record<string, number>, words: (one: string) => string): [string, string][] => [
      ["", "All"],
      ...Object.entries(counts).map(([one, count]): [string, string] => [one, `${words(one)} (${count})`]),
    ];
    const kinds = counted(facets.kinds, (kind) => (kind === "run" ? "Runs" : "Follow-ups"));
    fill(
      this.#filters,
      search,
      select("Kind", kinds, place.kind, choose("kind")),
      select("Review", counted(facets.states, (one) => STATE_WORDS[one] ?? one), place.state, choose("state")),
      select("Flag", counted(facets.flags, plain), place.flag, choose("flag")),
      this.#count,
      el("span", { class: "gap" }),
      el("a", { attrs: { href: addressOf("/export/corrections.zip"), download: "corrections.zip" } }, "My corrections (zip)"),
      el("a", { attrs: { href: addressOf("/export/edits.csv"), download: "edits.csv" } }, "My edits (CSV)"),
    );
  }

  #type(q: string): void {
    clearTimeout(this.#typing);
    this.#typing = window.setTimeout(() => {
      [place.q, place.chosen] = [q, 0];
      void this.#again();
    }, TYPING_MS);
  }

  // --- keyboard ---

  #bindKeys(): void {
    const group = "Worklist";
    const go = (step: number) => (): void => this.#go(place.chosen + step);
    const seen = (): number => Math.max(1, Math.floor(this.#scroller.clientHeight / this.#rowHeight) - 1);
    setKeys([
      { keys: ["ArrowDown", "j"], says: "Next case", group, act: go(1) },
      { keys: ["ArrowUp", "k"], says: "Case before", group, act: go(-1) },
      { keys: ["PageDown"], says: "A page on", group, act: () => this.#go(place.chosen + seen()) },
      { keys: ["PageUp"], says: "A page back", group, act: () => this.#go(place.chosen - seen()) },
      { keys: ["Home"], says: "First case", group, act: () => this.#go(0) },
      { keys: ["End"], says: "Last case", group, act: () => this.#go(this.#total - 1) },
      { keys: ["Enter"], says: "Open the case", group, act: () => this.#openAt(place.chosen) },
      { keys: ["/"], says: "Search", group, act: () => this.#filters.querySelector("input")?.focus() },
    ]);
  }

  #go(to: number): void {
    const at = Math.min(Math.max(to, 0), this.#total - 1);
    const [top, height] = [at * this.#rowHeight, this.#scroller.clientHeight];
    if (top < this.#scroller.scrollTop) this.#scroller.scrollTop = top;
    if (top + this.#rowHeight > this.#scroller.scrollTop + height) this.#scroller.scrollTop = top + this.#rowHeight - height;
    this.#draw();
    this.#mark(at);
    this.#rows.get(at)?.focus({ preventScroll: true });
  }
}

function cells(told: CaseRow): (Node | string)[][] {
  const findings = told.kind === "run" ? ["tumour", "tumours"] : ["lesion", "lesions"];
  const likely = told.kind === "run" ? `${told.likely_feeders} likely feeder${told.likely_feeders === 1 ? "" : "s"}` : "";
  const counted = `${told.findings} ${findings[told.findings === 1 ? 0 : 1]}`;
  return [
    [thumbnail(told)],
    [el("strong", {}, told.subject)],
    [day(told.date)],
    [told.kind === "run" ? "Run" : "Follow-up", el("div", { class: "quiet" }, told.label)],
    told.analysed ? [counted, el("div", { class: "quiet" }, likely)] : [el("span", { class: "bad" }, told.problem ?? "Not analysed")],
    flags(told.flags),
    [el("span", { class: `state ${told.state}` }, STATE_WORDS[told.state] ?? told.state)],
    [told.edits ? String(told.edits) : ""],
  ];
}

function flags(names: string[]): Node[] {
  const shown = names.slice(0, 2).map((name) => el("span", { class: "flag" }, plain(name)));
  const rest = names.slice(2);
  const title = rest.map(plain).join(", ");
  return rest.length ? [...shown, el("span", { class: "flag", attrs: { title } }, `+${rest.length}`)] : shown;
}

function thumbnail(told: CaseRow): HTMLElement {
  if (!told.thumbnail) return el("div", { class: "nothumb", attrs: { "aria-hidden": "true" } }, told.kind === "run" ? "no picture" : "CT");
  return el("img", { attrs: { src: addressOf(`/cases/${told.id}/pictures/thumbnail`), alt: "", loading: "lazy", decoding: "async" } });
}
