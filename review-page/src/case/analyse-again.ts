/** The case analysed again with the reader's changes: begun, watched, and which of the two results is shown. */

import type { CaseAnswer, JobAnswer, ResultKind } from "../base/answers";
import { sentenceOf, type Api } from "../base/api";
import type { Corrections } from "./corrections";
import { button, el, fill, select } from "../base/dom";
import { notify } from "../base/notices";

const AGAIN_MS = 700;
const RESULTS: [ResultKind, string][] = [["original", "Original"], ["mine", "Yours"]];

export class AnalyseAgain {
  readonly element = el("div", { class: "again" });
  #job: JobAnswer | null = null;

  constructor(
    private readonly api: Api,
    private readonly id: string,
    private readonly corrections: Corrections,
    /** Show the other result; resolves when it is shown. */
    private readonly turnTo: (kind: ResultKind) => Promise<void>,
    private readonly signal: AbortSignal,
  ) {}

  show(answer: CaseAnswer, shown: ResultKind): void {
    const running = isRunning(this.#job);
    fill(
      this.element,
      el(
        "div",
        { class: "row" },
        button({ label: "Analyse again with my changes", class: "primary", disabled: running || !answer.source.available, act: () => void this.#begin(answer, shown) }),
        answer.results.includes("mine") && select("Result", RESULTS, shown, (kind) => void this.#turn(kind as ResultKind)),
      ),
      !answer.source.available && el("p", { class: "quiet" }, answer.source.sentence),
      ...this.#words(),
    );
  }

  #words(): (Node | false)[] {
    const job = this.#job;
    if (!job) return [];
    if (isRunning(job)) {
      const progress = el("progress", { attrs: { max: job.total || undefined, value: job.total ? job.done : undefined, "aria-label": "Analysis" } });
      return [el("div", { class: "row" }, progress, el("span", { attrs: { role: "status" } }, job.sentence || "Waiting…"))];
    }
    const words = el("p", { class: job.state === "failed" ? "bad" : "quiet", attrs: { role: "status", "data-job": job.state } }, job.sentence || "Analysed again.");
    return [words, job.not_applied.length > 0 && el("ul", { class: "bad" }, ...job.not_applied.map((one) => el("li", {}, one)))];
  }

  async #begin(answer: CaseAnswer, shown: ResultKind): Promise<void> {
    try {
      if (this.corrections.save !== "saved") notify("Some changes are still being saved; they are not part of this analysis.");
      this.#job = await this.api.post<JobAnswer>(`/cases/${this.id}/reanalysis`);
      while (isRunning(this.#job)) {
        this.show(answer, shown);
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        if (this.signal.aborted) return;
        this.#job = await this.api.get<JobAnswer>(`/jobs/${this.#job.id}`, {}, this.signal);
      }
    } catch (error) {
      if (this.signal.aborted) return;
      this.#job = null;
      notify(sentenceOf(error), "failed");
    }
    this.show(answer, shown);
    if (this.#job?.state === "done") await this.#turn("mine");
    if (this.#job?.state === "failed") notify(this.#job.sentence, "failed");
  }

  async #turn(kind: ResultKind): Promise<void> {
    try {
      await this.turnTo(kind);
    } catch (error) {
      if (!this.signal.aborted) notify(sentenceOf(error), "failed");
    }
  }
}

function isRunning(job: JobAnswer | null): boolean {
  return job?.state === "waiting" || job?.state === "running";
}
