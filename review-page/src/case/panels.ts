/** The smaller panels beside the picture of a case: notes, edits, what can be taken away. */

import type { CaseRow, Edit, EditWords, Point } from "../base/answers";
import { addressOf, type Api } from "../base/api";
import { button, el } from "../base/dom";
import { day } from "../base/words";
import { showAudit, showReaders } from "./audit";
import { pointOf, wordsOf } from "./edit-words";

/** A part of the side that opens and closes. */
export function section(title: string, open: boolean, ...content: (Node | false)[]): HTMLDetailsElement {
  return el("details", { class: "part", attrs: { open } }, el("summary", {}, el("h2", {}, title)), ...content);
}

export class NoteForm {
  readonly element = el("form", { class: "note", attrs: { "aria-label": "Note" } });
  readonly #text: HTMLTextAreaElement;
  readonly #place = el("span", { class: "quiet" });
  #point: Point | null = null;
  #filled = false;

  constructor(
    private readonly type: (text: string) => void,
    private readonly add: (words: EditWords) => void,
    pick: (() => void) | null,
  ) {
    this.#text = el("textarea", {
      attrs: { rows: 3, maxlength: 4000, "aria-label": "Note", placeholder: "What you see. Kept as you type." },
      on: { input: () => this.type(this.#text.value) },
    });
    const pickButton = pick && button({ label: "Mark a place", class: "small", act: pick });
    const keep = button({ label: "Add note", class: "small primary", act: () => this.#keep() });
    this.element.addEventListener("submit", (event) => event.preventDefault());
    this.element.append(this.#text, el("div", { class: "row" }, pickButton, this.#place, el("span", { class: "gap" }), keep));
  }

  /** Take up what was typed before, once. */
  resume(draft: string): void {
    if (this.#filled) return;
    this.#filled = true;
    if (!this.#text.value) this.#text.value = draft;
  }

  focus(): void {
    this.#text.focus();
  }

  at(point: Point): void {
    this.#point = point;
    this.#place.textContent = `at row ${point[0].toFixed(0)}, column ${point[1].toFixed(0)}`;
    this.#text.focus();
  }

  #keep(): void {
    const text = this.#text.value.trim();
    if (!text) return;
    this.add(this.#point ? { kind: "note", text, point: this.#point } : { kind: "note", text });
    this.#text.value = "";
    this.type("");
    this.#point = null;
    this.#place.textContent = "";
  }
}

/** The line above a case: back to the worklist, to its neighbours, which case it is, and what is saved. */
export function caseTitle(row: CaseRow, words: string, go: (step: 1 | -1) => void, back: () => void, saveBar: Node): HTMLElement {
  document.title = `${row.subject} ${words} – angio review`;
  return el(
    "div",
    { class: "row title" },
    button({ label: "Worklist", glyph: "‹ Worklist", act: back }),
    button({ label: "Case before", glyph: "↑", title: "Case before (Ctrl ↑)", act: () => go(-1) }),
    button({ label: "Next case", glyph: "↓", title: "Next case (Ctrl ↓)", act: () => go(1) }),
    el("h1", {}, row.subject),
    el("span", {}, row.kind === "run" ? `${day(row.date)} · ${words}` : words),
    el("span", { class: "gap" }),
    saveBar,
  );
}

/** What was done to a case, and what others say of it where the owner of the server lets them see each other. */
export function journalButtons(api: Api, id: string): HTMLElement {
  return el(
    "div",
    { class: "row" },
    button({ label: "Journal", title: "Who changed what, and when", class: "small", act: () => void showAudit(api, id) }),
    api.session?.unblinded && button({ label: "All readers", title: "What each reader says of this case", class: "small", act: () => void showReaders(api, id) }),
  );
}

/** All edits of the reader, the last one first. */
export function editList(edits: Edit[], takeBack: (edit: Edit) => void, look: (point: Point) => void): HTMLElement {
  if (!edits.length) return el("p", { class: "quiet" }, "You have not changed anything yet.");
  const rows = edits.toReversed().map((edit) => {
    const point = pointOf(edit);
    return el(
      "li",
      { attrs: { "data-edit": edit.id } },
      el("span", { class: "words" }, wordsOf(edit)),
      point && button({ label: "Show its place", glyph: "◎", class: "small", act: () => look(point) }),
      button({ label: `Take back: ${wordsOf(edit)}`, glyph: "×", class: "small", act: () => takeBack(edit) }),
    );
  });
  return el("ul", { class: "edits" }, ...rows);
}

/** Where a reader's own words can be taken from. */
export function exportLinks(more: Node[] = []): HTMLElement {
  const link = (path: string, name: string, label: string): HTMLElement =>
    el("li", {}, el("a", { attrs: { href: addressOf(path), download: name } }, label));
  return el(
    "ul",
    { class: "exports" },
    link("/export/corrections.zip", "corrections.zip", "My corrections of all cases (for angio run --corrections)"),
    link("/export/edits.csv", "edits.csv", "My edits as a table (CSV)"),
    ...more,
  );
}
