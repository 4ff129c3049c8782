/** Tumours and their feeders: how probable, on what grounds, and the reader's word on each. */

import type { Edit, Feeder, Tumour } from "../base/answers";
import { button, el, fill } from "../base/dom";
import { num, percent, plain } from "../base/words";
import { isRemoved, placeOf, feederPlace, redrawn, verdictOn } from "./readings";
import type { EditWords } from "../base/answers";

export interface FeederListTold {
  hover(feeder: Feeder | null): void;
  choose(feeder: Feeder | null): void;
  add(words: EditWords): void;
  takeBack(edit: Edit): void;
  draw(tumour: Tumour): void;
}

export class FeederList {
  readonly element = el("div", { class: "feeders" });
  chosen: string | null = null;
  #tumours: Tumour[] = [];
  #edits: Edit[] = [];
  #open = new Set<string>();

  constructor(private readonly told: FeederListTold) {}

  show(tumours: Tumour[], edits: Edit[]): void {
    [this.#tumours, this.#edits] = [tumours, edits];
    if (!tumours.length) fill(this.element, el("p", { class: "quiet" }, "The analysis found no tumour in this run."));
    else fill(this.element, ...tumours.map((tumour) => this.#tumour(tumour)));
  }

  get feeders(): Feeder[] {
    return this.#tumours.flatMap((tumour) => tumour.feeders);
  }

  /** Choose the next or the former feeder. */
  move(by: 1 | -1): void {
    const ids = this.feeders.map((one) => one.id);
    if (!ids.length) return;
    const at = this.chosen === null ? (by > 0 ? -1 : 0) : ids.indexOf(this.chosen);
    this.choose(ids[(at + by + ids.length) % ids.length]!);
  }

  choose(id: string | null): void {
    this.chosen = id;
    this.show(this.#tumours, this.#edits);
    this.told.choose(this.feeders.find((one) => one.id === id) ?? null);
    this.element.querySelector(".feeder.chosen")?.scrollIntoView({ block: "nearest" });
  }

  /** Say yes or no to the chosen feeder; the same word again takes it back. */
  judge(kind: "accept_feeder" | "reject_feeder"): void {
    const tumour = this.#tumours.find((one) => one.feeders.some((feeder) => feeder.id === this.chosen));
    const feeder = tumour?.feeders.find((one) => one.id === this.chosen);
    if (tumour && feeder) this.#judge(kind, tumour, feeder);
  }

  #judge(kind: "accept_feeder" | "reject_feeder", tumour: Tumour, feeder: Feeder): void {
    const { edit } = verdictOn(this.#edits, feeder);
    if (edit?.kind === kind) this.told.takeBack(edit);
    else this.told.add({ kind, tumour: placeOf(tumour), feeder: feederPlace(feeder) });
  }

  #tumour(tumour: Tumour): HTMLElement {
    const removed = isRemoved(tumour, this.#edits);
    const state = removed ? "removed by you" : redrawn(tumour, this.#edits) ? "redrawn by you" : "";
    const area = tumour.area_mm2 === null ? num(tumour.area_px, 0, "px²") : num(tumour.area_mm2 / 100, 1, "cm²");
    const facts = `blush ${area}, ${tumour.origin === "roi" ? "by hand" : percent(tumour.probability)}`;
    const remove = (): void => this.told.add({ kind: "remove_tumour", tumour: placeOf(tumour) });
    const added = this.#edits.filter((edit) => edit.kind === "add_feeder" && edit.tumour.id === tumour.id);
    return el(
      "section",
      { class: `tumour${removed ? " removed" : ""}` },
      el(
        "header",
        { class: "row" },
        el("h3", {}, tumour.id),
        el("span", { class: "quiet" }, facts),
        state && el("span", { class: "tag" }, state),
        el("span", { class: "gap" }),
        button({ label: "Redraw", title: `Redraw the blush of ${tumour.id}`, class: "small", act: () => this.told.draw(tumour) }),
        !removed && button({ label: "Remove", title: `There is no tumour ${tumour.id}`, class: "small", act: remove }),
      ),
      ...tumour.feeders.map((feeder) => this.#feeder(tumour, feeder)),
      !tumour.feeders.length && el("p", { class: "quiet" }, "No feeder found."),
      ...added.map((edit) => this.#added(edit)),
    );
  }

  #feeder(tumour: Tumour, feeder: Feeder): HTMLElement {
    const { verdict } = verdictOn(this.#edits, feeder);
    const choose = (): void => this.choose(this.chosen === feeder.id ? null : feeder.id);
    const name = el("button", { class: "plain name", attrs: { type: "button", "aria-expanded": String(this.#open.has(feeder.id)) }, on: { click: choose } }, feeder.id);
    const row = el(
      "div",
      {
        class: `feeder ${verdict ?? ""}${this.chosen === feeder.id ? " chosen" : ""}`,
        attrs: { "data-feeder": feeder.id },
        on: {
          pointerenter: () => this.told.hover(feeder),
          pointerleave: () => this.told.hover(null),
          focusin: () => this.told.hover(feeder),
          focusout: () => this.told.hover(null),
        },
      },
      el(
        "div",
        { class: "row" },
        name,
        probabilityBar(feeder),
        this.#verdictButton("accept_feeder", "Yes", tumour, feeder, verdict === "accepted"),
        this.#verdictButton("reject_feeder", "No", tumour, feeder, verdict === "rejected"),
      ),
      el("div", { class: "row facts quiet" }, ...facts(feeder)),
      this.#evidence(feeder),
    );
    return row;
  }

  #verdictButton(
    kind: "accept_feeder" | "reject_feeder",
    label: string,
    tumour: Tumour,
    feeder: Feeder,
    pressed: boolean,
  ): HTMLElement {
    const does = kind === "accept_feeder" ? "accept" : "reject";
    return button({
      // What is read out begins with what is seen, for those who speak to their computer.
      label: `${label}, ${does} feeder ${feeder.id}`,
      glyph: label,
      class: `small ${kind}`,
      pressed,
      act: () => this.#judge(kind, tumour, feeder),
    });
  }

  #evidence(feeder: Feeder): HTMLElement {
    const rows = Object.entries(feeder.evidence ?? {}).flatMap(([name, value]) => [
      el("dt", {}, plain(name)),
      el("dd", {}, num(value, 2)),
    ]);
    const views = feeder.two_views?.reason;
    const details = el(
      "details",
      { attrs: { open: this.#open.has(feeder.id) } },
      el("summary", {}, `Evidence of ${feeder.id}`),
      views ? el("p", { class: "quiet" }, `Other view: ${views}`) : null,
      el("dl", { class: "evidence" }, ...rows),
    );
    details.addEventListener("toggle", () => {
      if (details.open) this.#open.add(feeder.id);
      else this.#open.delete(feeder.id);
    });
    return details;
  }

  #added(edit: Edit): HTMLElement {
    const back = button({ label: "Take back", class: "small", act: () => this.told.takeBack(edit) });
    const words = "Added by you; measured at the next analysis";
    return el("div", { class: "feeder accepted added" }, el("div", { class: "row" }, el("span", {}, words), el("span", { class: "gap" }), back));
  }
}

function probabilityBar(feeder: Feeder): HTMLElement {
  const shown = feeder.two_views?.probability ?? feeder.probability;
  const told = percent(shown);
  const bar = el("span", { class: "bar" });
  bar.style.width = `${Math.round(shown * 100)}%`;
  const title = feeder.two_views ? `With both views; ${percent(feeder.probability)} from this view alone` : "Probability of supplying the tumour";
  return el("span", { class: "probability", attrs: { title } }, el("span", { class: "track" }, bar), el("span", { class: "value" }, told));
}

function facts(feeder: Feeder): HTMLElement[] {
  const width = feeder.diameter_mm === null ? num(feeder.diameter_px, 1, "px") : num(feeder.diameter_mm, 1, "mm");
  const words = [
    `gives ${percent(feeder.contribution)}`,
    `⌀ ${width}`,
    `arrives ${num(feeder.arrival_s, 1, "s")}`,
    `non-target ${percent(feeder.target?.non_target_fraction)}`,
  ];
  if (feeder.overlap_ambiguous) words.push("overlap ambiguous");
  if (feeder.corrected) words.push(feeder.corrected);
  // The bar shows what both views say; reports show what this one says.
  if (feeder.two_views) words.push(`by both views; by this one ${percent(feeder.probability)}`);
  return words.map((one) => el("span", {}, one));
}
