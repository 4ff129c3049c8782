/** The run that is open: what the server told of it, the result that is shown, and the reader's word on it. */

import type { CaseAnswer, Edit, EditWords, ResultKind, Tumour } from "../base/answers";
import type { Api } from "../base/api";
import { Corrections } from "../case/corrections";
import { notify } from "../base/notices";
import { readPicture } from "../image/overlay";
import { phasesOf, type Phases } from "./phases";
import { RunResults } from "./results";

export class OpenRun {
  readonly corrections: Corrections;
  answer!: CaseAnswer;
  results: RunResults | null = null;
  readonly #closed = new AbortController();
  readonly #drawnMasks = new Map<string, Promise<ImageData>>();

  constructor(
    readonly api: Api,
    readonly id: string,
    changed: () => void,
  ) {
    this.corrections = new Corrections(api, id, changed, (sentence) => notify(sentence, "failed"));
  }

  /** Ends what is asked for when the run is left. */
  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  get closed(): boolean {
    return this.#closed.signal.aborted;
  }

  get tumours(): Tumour[] {
    return this.results?.analysis.tumours ?? [];
  }

  /** The phases with the reader's last word on them; none before the analysis is there. */
  get phases(): Phases {
    return this.results ? phasesOf(this.results.analysis, this.corrections.edits) : {};
  }

  /** Edits that the analysis that is shown does not hold yet. */
  get openEdits(): Edit[] {
    const done = new Set(this.results?.analysis.corrections?.map((one) => one.id));
    return this.corrections.edits.filter((one) => this.results?.kind === "original" || !done.has(one.id));
  }

  async askAnswer(result: ResultKind = "original"): Promise<void> {
    this.answer = await this.api.get<CaseAnswer>(`/cases/${this.id}`, { result }, this.signal);
  }

  async askResults(kind: ResultKind): Promise<RunResults> {
    const results = new RunResults(this.api, this.answer, kind);
    await results.load(this.signal);
    this.results = results;
    return results;
  }

  /** Take an edit; one on the reader's own analysis says in which frame its places are where that differs. */
  add(words: EditWords): Edit {
    const reference = this.results!.analysis.subtraction.reference_frame;
    return this.corrections.add(words, reference === this.answer.reference_frame ? undefined : reference);
  }

  /** A mask that an edit of this reader holds; asked for once. */
  drawnMask(name: string): Promise<ImageData> {
    const found = this.#drawnMasks.get(name) ?? this.api.fetch(`/cases/${this.id}/drawn-masks/${name}`, {}, this.signal).then(readPicture);
    this.#drawnMasks.set(name, found);
    return found;
  }

  close(): void {
    this.#closed.abort();
    this.corrections.close();
  }
}
