/** What a result says of itself. */

import type { Analysis, CaseAnswer } from "../base/answers";
import { addressOf } from "../base/api";
import { el } from "../base/dom";
import { num } from "../base/words";

/** Quality, software and files of the result. */
export function about(answer: CaseAnswer, analysis: Analysis | null, objects: string[], result: string): HTMLElement {
  const quality = analysis?.quality_sentences ?? answer.quality_sentences;
  const residual = analysis?.subtraction;
  const links = objects.map((name) =>
    el("li", {}, el("a", { attrs: { href: addressOf(`/cases/${answer.row.id}/objects/${name}`, { result }), download: true } }, `DICOM ${name}`)),
  );
  return el(
    "div",
    {},
    el("ul", { class: "quality" }, ...quality.map((sentence) => el("li", {}, sentence))),
    !quality.length && el("p", { class: "quiet" }, "The analysis raised no flag."),
    residual && el("p", { class: "quiet" }, `Residual motion ${num(residual.residual_before, 3)} before, ${num(residual.residual_after, 3)} after correction.`),
    analysis?.image.calibration ? el("p", { class: "quiet" }, `Calibration: ${analysis.image.calibration}.`) : null,
    answer.software ? el("p", { class: "quiet" }, `Analysed by version ${answer.software}.`) : null,
    links.length > 0 && el("ul", { class: "exports" }, ...links),
  );
}
