/** The journal of a case in a dialog: who, when, what, before and after; and what all readers say where they may see it. */

import type { AuditLine, CorrectionsAnswer, Edit } from "../base/answers";
import { sentenceOf, type Api } from "../base/api";
import { el, fill } from "../base/dom";
import { openDialog } from "../base/notices";
import { STATE_WORDS, moment, plain } from "../base/words";
import { pointOf, wordsOf } from "./edit-words";

const ACTIONS: Record<string, string> = {
  edit: "Changed",
  remove: "Took back",
  undo: "Undid",
  redo: "Did again",
  state: "Set the review",
  draft: "Typed",
  reanalysis: "Analysed again",
};

/** Show the journal; a blinded reader is shown their own part of it alone. */
export async function showAudit(api: Api, id: string): Promise<void> {
  const whose = api.session?.unblinded ? "Everything that was done to this case, the last first." : "What you did to this case, the last first. Nobody else's part is shown to you.";
  const content = openDialog("Journal", "audit", el("p", { class: "quiet" }, whose));
  await filled(content, async () => {
    const { events } = await api.get<{ events: AuditLine[] }>(`/cases/${id}/audit`);
    if (!events.length) return [el("p", { class: "empty" }, "Nothing was done yet.")];
    return [el("div", { class: "tablewrap" }, auditTable(events.toReversed()))];
  });
}

/** Show what each reader says of a case; only where the owner of the server has unblinded them. */
export async function showReaders(api: Api, id: string): Promise<void> {
  const content = openDialog("All readers", "readers", el("p", { class: "quiet" }, "What each reader says of this case."));
  await filled(content, async () => {
    const { readers } = await api.get<{ readers: CorrectionsAnswer[] }>(`/cases/${id}/readers`);
    if (!readers.length) return [el("p", { class: "empty" }, "Nobody has said anything yet.")];
    return readers.map(readerSection);
  });
}

async function filled(content: HTMLElement, ask: () => Promise<Node[]>): Promise<void> {
  try {
    fill(content, ...(await ask()));
  } catch (error) {
    fill(content, el("p", { class: "bad", attrs: { role: "alert" } }, sentenceOf(error)));
  }
}

function auditTable(events: AuditLine[]): HTMLElement {
  const head = ["When", "Who", "What", "Before", "After"].map((one) => el("th", { attrs: { scope: "col" } }, one));
  const rows = events.map((one) =>
    el(
      "tr",
      { attrs: { "data-action": one.action } },
      el("td", {}, moment(one.at)),
      el("td", {}, one.reader),
      el("td", {}, ACTIONS[one.action] ?? plain(one.action)),
      el("td", {}, valueWords(one.action, one.before)),
      el("td", {}, valueWords(one.action, one.after)),
    ),
  );
  return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

/** What stood there, in words: an edit, a state, or the text itself. */
function valueWords(action: string, value: unknown): string {
  if (value === null || value === undefined || value === "") return "–";
  if (action === "state") return STATE_WORDS[String(value)] ?? String(value);
  if (typeof value === "string") return value;
  if (typeof value === "object" && "kind" in value) return placedWords(value as Edit);
  if (typeof value === "object" && "revision" in value) return `With ${String(value.revision)} changes in all`;
  return JSON.stringify(value);
}

function placedWords(edit: Edit): string {
  const point = pointOf(edit);
  return point ? `${wordsOf(edit)}, at row ${point[0].toFixed(0)}, column ${point[1].toFixed(0)}` : wordsOf(edit);
}

function readerSection({ reader, state, updated, edits }: CorrectionsAnswer): HTMLElement {
  const said = edits.map((edit) => el("li", {}, placedWords(edit)));
  return el(
    "section",
    { class: "said", attrs: { "data-reader": reader } },
    el("header", { class: "row" }, el("h3", {}, reader), el("span", { class: `state ${state}` }, STATE_WORDS[state] ?? state), el("span", { class: "quiet" }, updated ? moment(updated) : "")),
    said.length ? el("ul", {}, ...said) : el("p", { class: "quiet" }, "No change holds."),
  );
}
