/** Retention over time with its intervals, and the response by every criterion: what was measured, as a reader asks it. */

import type { Lesion, ResponseDocument } from "../base/answers";
import { Chart, type Curve } from "../base/chart";
import { el } from "../base/dom";
import { UNKNOWN, day, num } from "../base/words";

const COLOURS = ["#ffcd46", "#4fd1c5", "#f27fb2", "#ffa04d", "#9db8ff", "#c9e265"];
const HEIGHT_REM = 13;

/** The colour of a lesion, the same in pictures, curves and tables. */
export function lesionColour(lesions: Lesion[], id: string): string {
  return COLOURS[Math.max(0, lesions.findIndex((one) => one.id === id)) % COLOURS.length]!;
}

/** Marks with intervals for each scan, and the fitted curve of each lesion. */
export function showRetention(chart: Chart, lesions: Lesion[]): boolean {
  const days = new Set<number>();
  for (const lesion of lesions) {
    for (const point of lesion.timepoints) if (point.days !== null && point.retention !== null) days.add(point.days);
    for (const one of lesion.kinetics?.curve_days ?? []) days.add(one);
  }
  const x = [...days].sort((a, b) => a - b);
  if (!x.length) return false;
  const curves = lesions.flatMap((lesion) => curvesOf(lesion, x, lesionColour(lesions, lesion.id)));
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  chart.show({ x, xLabel: "Days", yLabel: "Retention", curves, height: HEIGHT_REM * rem, yFrom: 0 });
  return true;
}

function curvesOf(lesion: Lesion, x: number[], colour: string): Curve[] {
  const at = new Map(lesion.timepoints.map((point) => [point.days, point]));
  const points: Curve = {
    label: lesion.id,
    colour,
    points: true,
    values: x.map((days) => at.get(days)?.retention ?? null),
    low: x.map((days) => at.get(days)?.retention_interval?.[0] ?? null),
    high: x.map((days) => at.get(days)?.retention_interval?.[1] ?? null),
  };
  const { curve_days: days, curve_retention: values } = lesion.kinetics ?? {};
  if (!days || !values) return [points];
  const fitted = new Map(days.map((one, number) => [one, values[number] ?? null]));
  const label = `${lesion.id} fitted`;
  return [points, { label, colour, dashed: true, values: x.map((one) => fitted.get(one) ?? null) }];
}

/** Half-lives in words: a fit that has no interval says so. */
export function kineticsWords(lesion: Lesion): string {
  const found = lesion.kinetics;
  if (!found || found.half_life_days === null) return `${lesion.id}: no half-life could be told.`;
  const [low, high] = found.half_life_interval ?? [null, null];
  const ends = low === null && high === null ? "interval unknown" : `${num(low, 0)} to ${high === null ? "no upper end" : num(high, 0)}`;
  return `${lesion.id}: half-life ${num(found.half_life_days, 0)} days (${ends}), ${found.model}.`;
}

function table(label: string, head: string[], rows: (string | HTMLElement)[][]): HTMLElement {
  return el(
    "div",
    { class: "tablewrap", attrs: { tabindex: 0, role: "region", "aria-label": label } },
    el(
      "table",
      {},
      el("caption", {}, label),
      el("thead", {}, el("tr", {}, ...head.map((one) => el("th", { attrs: { scope: "col" } }, one)))),
      el(
        "tbody",
        {},
        ...rows.map(([first, ...rest]) =>
          el("tr", {}, el("th", { attrs: { scope: "row" } }, first), ...rest.map((one) => el("td", {}, one))),
        ),
      ),
    ),
  );
}

/** Oil of each lesion at each scan. */
export function oilTable(lesions: Lesion[]): HTMLElement {
  const rows = lesions.flatMap((lesion) =>
    lesion.timepoints.map((point) => [
      lesion.id,
      day(point.date),
      num(point.days, 0),
      point.modality,
      withEnds(point.iodine_mg, point.iodine_mg_interval, 0),
      num(point.oil_ml, 2),
      withEnds(point.retention, point.retention_interval, 2),
      point.coverage ? `${num(point.coverage["75"], 0)} %` : UNKNOWN,
      [point.pattern, point.completeness].filter(Boolean).join(", ") || UNKNOWN,
    ]),
  );
  return table("Oil", ["Lesion", "Date", "Day", "Scan", "Iodine, mg", "Oil, ml", "Retention", "Covered", "Pattern"], rows);
}

function withEnds(value: number | null, ends: [number, number] | null, digits: number): string {
  return value === null || !ends ? num(value, digits) : `${num(value, digits)} (${num(ends[0], digits)}–${num(ends[1], digits)})`;
}

const CRITERIA: Record<string, string> = {
  recist: "RECIST 1.1",
  mrecist: "mRECIST",
  easl: "EASL",
  who: "WHO",
  qeasl: "qEASL",
  choi: "Choi",
  recicl: "RECICL",
};
const CONVENTIONS: Record<string, string> = {
  tissue: "oil left out",
  oil_necrotic: "oil taken as necrotic",
  oil_enhancing: "oil taken as enhancing",
};

function criterionWords(name: string): string {
  const [criterion, convention] = name.split("/");
  const words = CRITERIA[criterion!] ?? criterion!;
  return convention ? `${words}, ${CONVENTIONS[convention] ?? convention}` : words;
}

/** The response by criterion and date; the sentence behind each call can be read. */
export function responseTable(response: ResponseDocument | null): HTMLElement {
  if (!response || !response.timepoints.length) {
    return el("p", { class: "quiet" }, response?.reason || "No response was told for this patient.");
  }
  const names = Object.keys(response.timepoints[0]!.calls);
  const rows = names.map((name) => [
    criterionWords(name),
    ...response.timepoints.map((point) => {
      const call = point.calls[name];
      const reason = point.reasons.find((one) => one.name === name)?.sentence ?? "";
      return el("span", { class: `call ${call ?? "unknown"}`, attrs: { title: reason } }, call ?? UNKNOWN, call && point.too_early ? " (too early)" : "", el("span", { class: "why" }, reason));
    }),
    response.best.find((one) => one.name === name)?.call ?? UNKNOWN,
  ]);
  const dates = response.timepoints.map((point) => `${day(point.date)} (day ${num(point.days, 0)})`);
  return table(`Response since ${day(response.baseline_date ?? "")}`, ["Criterion", ...dates, "Best"], rows);
}
