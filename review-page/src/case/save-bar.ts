/** Saved or not, undo and redo, how far the reader is: the same bar for every kind of case. */

import type { ReviewState } from "../base/answers";
import type { Corrections } from "./corrections";
import { button, el, fill, select } from "../base/dom";
import type { Key } from "../base/keys";
import { ask } from "../base/notices";
import { STATE_WORDS } from "../base/words";

const SAVE_WORDS = { saved: "Saved", saving: "Saving…", unsaved: "Not saved yet", conflict: "Edited elsewhere" };

export class SaveBar {
  readonly element = el("div", { class: "row savebar", attrs: { role: "group", "aria-label": "Corrections" } });
  #asking = false;

  constructor(private readonly corrections: Corrections) {}

  show(): void {
    const { answer, save, sentence } = this.corrections;
    const busy = save === "conflict";
    const status = el(
      "span",
      { class: `save ${save}`, attrs: { role: "status", title: sentence || undefined, "data-save": save } },
      SAVE_WORDS[save],
    );
    fill(
      this.element,
      button({ label: "Undo", glyph: "↶", title: "Undo (Ctrl Z)", disabled: !answer?.can_undo || busy, act: () => this.corrections.undo() }),
      button({ label: "Redo", glyph: "↷", title: "Redo (Ctrl Shift Z)", disabled: !answer?.can_redo || busy, act: () => this.corrections.redo() }),
      status,
      select(
        "Review",
        Object.entries(STATE_WORDS),
        answer?.state ?? "new",
        (state) => this.corrections.setState(state as ReviewState),
      ),
    );
    if (save === "conflict") void this.#settle(sentence);
  }

  keys(): Key[] {
    const group = "Corrections";
    return [
      { keys: ["ctrl+z"], says: "Undo", group, act: () => this.corrections.undo() },
      { keys: ["ctrl+shift+z", "ctrl+y"], says: "Redo", group, act: () => this.corrections.redo() },
      { keys: ["shift+d"], says: "Mark the case as done", group, act: () => this.corrections.setState("done") },
    ];
  }

  async #settle(sentence: string): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    const waiting = this.corrections.waiting;
    const answer = await ask("Edited elsewhere", `${sentence} ${waiting} of your changes here ${waiting === 1 ? "is" : "are"} not saved yet and still kept.`, [
      ["keep", "Load the newer state and add my changes to it"],
      ["drop", "Load the newer state and drop my unsaved changes"],
    ]);
    this.#asking = false;
    await this.corrections.settle(answer !== "drop");
  }
}
