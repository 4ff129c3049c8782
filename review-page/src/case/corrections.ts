/** What the reader says of one case: sent at once, kept in this browser until the server has it, told when it was not.
 *
 * Edits wait in a line and are sent one after another, each on the revision that the last answer told. An edit that
 * could not be sent stays in the line, also through a reload of the page. An edit is sent twice at worst, and its own id
 * makes it count once.
 */

import type { CorrectionsAnswer, Edit, EditWords, ReviewState } from "../base/answers";
import { Refusal, UNREACHABLE, sentenceOf, type Api } from "../base/api";

export type SaveState = "saved" | "saving" | "unsaved" | "conflict";

type Step = { kind: "edit"; edit: Edit } | { kind: "remove"; id: string } | { kind: "undo" } | { kind: "redo" }
  | { kind: "state"; state: ReviewState };

const AGAIN_MS = 4000;
const DRAFT_MS = 1000;

function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `e${[...bytes].map((one) => one.toString(16).padStart(2, "0")).join("")}`;
}

export class Corrections {
  answer: CorrectionsAnswer | null = null;
  save: SaveState = "saved";
  sentence = "";
  #line: Step[];
  #sending = false;
  #draft: string | null = null;
  #draftTimer = 0;
  #againTimer = 0;
  #closed = false;

  constructor(
    private readonly api: Api,
    private readonly caseId: string,
    private readonly changed: () => void,
    private readonly refused: (sentence: string) => void,
  ) {
    this.#line = this.#kept();
  }

  async load(): Promise<void> {
    this.answer = await this.api.get<CorrectionsAnswer>(`/cases/${this.caseId}/corrections`);
    this.changed();
    if (this.#line.length) void this.#send();
  }

  /** All edits, those that are still on their way included. */
  get edits(): Edit[] {
    const sent = this.answer?.edits ?? [];
    const ids = new Set(sent.map((one) => one.id));
    const waiting = this.#line.flatMap((step) => (step.kind === "edit" && !ids.has(step.edit.id) ? [step.edit] : []));
    const gone = new Set(this.#line.flatMap((step) => (step.kind === "remove" ? [step.id] : [])));
    return [...sent, ...waiting].filter((one) => !gone.has(one.id));
  }

  get waiting(): number {
    return this.#line.length;
  }

  add(words: EditWords, referenceFrame?: number): Edit {
    const edit = { ...words, id: newId(), time: new Date().toISOString() } as Edit;
    if (referenceFrame !== undefined) edit.reference_frame = referenceFrame;
    this.#take({ kind: "edit", edit });
    return edit;
  }

  remove(id: string): void {
    this.#take({ kind: "remove", id });
  }

  undo(): void {
    if (this.answer?.can_undo || this.#line.length) this.#take({ kind: "undo" });
  }

  redo(): void {
    if (this.answer?.can_redo) this.#take({ kind: "redo" });
  }

  setState(state: ReviewState): void {
    this.#take({ kind: "state", state });
  }

  /** Keep what is being typed, a moment after the last key. */
  type(text: string): void {
    this.#draft = text;
    this.#tell("unsaved");
    clearTimeout(this.#draftTimer);
    this.#draftTimer = window.setTimeout(() => void this.#sendDraft(), DRAFT_MS);
  }

  /** After a conflict: read what is there now, then either send what waits on top of it or give it up. */
  async settle(keepMine: boolean): Promise<void> {
    if (!keepMine) this.#setLine([]);
    // Undo and redo meant a state that is no longer there.
    else this.#setLine(this.#line.filter((step) => step.kind !== "undo" && step.kind !== "redo"));
    this.#tell("saved");
    await this.load();
  }

  /** Send what is left, for a page that is being closed. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#againTimer);
    if (this.#draft !== null) void this.#sendDraft();
  }

  #take(step: Step): void {
    this.#setLine([...this.#line, step]);
    if (!this.answer) this.#tell("unsaved");
    else if (this.save !== "conflict") void this.#send();
    this.changed();
  }

  async #send(): Promise<void> {
    if (this.#sending || !this.answer) return;
    this.#sending = true;
    this.#tell("saving");
    while (this.#line.length) {
      try {
        this.answer = await this.#sendOne(this.#line[0]!, this.answer.revision);
        this.#setLine(this.#line.slice(1));
        this.changed();
      } catch (error) {
        if (!this.#survives(error)) break;
      }
    }
    this.#sending = false;
    if (!this.#line.length) this.#tell(this.#draft === null ? "saved" : "unsaved");
  }

  #sendOne(step: Step, revision: number): Promise<CorrectionsAnswer> {
    const path = `/cases/${this.caseId}`;
    switch (step.kind) {
      case "edit":
        return this.api.change("POST", `${path}/edits`, revision, { edit: step.edit });
      case "remove":
        return this.api.change("DELETE", `${path}/edits/${step.id}`, revision);
      case "state":
        return this.api.change("PUT", `${path}/state`, revision, { state: step.state });
      default:
        return this.api.change("POST", `${path}/${step.kind}`, revision);
    }
  }

  /** Whether the line goes on after a failure: only where the server will never take the step. */
  #survives(error: unknown): boolean {
    const sentence = sentenceOf(error);
    if (error instanceof Refusal && error.status === 409 && error.code === "conflict") {
      this.#tell("conflict", sentence);
      return false;
    }
    const never = error instanceof Refusal && [404, 409, 413, 422].includes(error.status);
    if (never) {
      this.#setLine(this.#line.slice(1));
      this.refused(sentence);
      this.changed();
      return true;
    }
    this.#tell("unsaved", sentence);
    const away = error instanceof Refusal && (error.status === UNREACHABLE || error.status >= 500);
    if (away && !this.#closed) this.#againTimer = window.setTimeout(() => void this.#send(), AGAIN_MS);
    return false;
  }

  async #sendDraft(): Promise<void> {
    const text = this.#draft;
    if (text === null) return;
    clearTimeout(this.#draftTimer);
    try {
      await this.api.put(`/cases/${this.caseId}/draft`, { text });
      if (this.#draft === text) this.#draft = null;
      if (!this.#line.length && this.#draft === null) this.#tell("saved");
    } catch (error) {
      this.#tell("unsaved", sentenceOf(error));
      if (!this.#closed) this.#draftTimer = window.setTimeout(() => void this.#sendDraft(), AGAIN_MS);
    }
  }

  #tell(save: SaveState, sentence = ""): void {
    [this.save, this.sentence] = [save, sentence];
    this.changed();
  }

  // What waits is kept for this tab alone: a tab of another reader must not send it.
  get #key(): string {
    return `angio-unsent ${this.api.session?.reader ?? ""} ${this.caseId}`;
  }

  #kept(): Step[] {
    try {
      return JSON.parse(sessionStorage.getItem(this.#key) ?? "[]") as Step[];
    } catch {
      return [];
    }
  }

  #setLine(line: Step[]): void {
    this.#line = line;
    try {
      if (line.length) sessionStorage.setItem(this.#key, JSON.stringify(line));
      else sessionStorage.removeItem(this.#key);
    } catch {
      // Without storage the line lives as long as the page.
    }
  }
}
