/** Frames or slices as the server sends them: 16 bits, kept in the page's own memory while there is room. */

import { Refusal, UNREACHABLE, type Api, type Query } from "../base/api";
import type { CaseRow, FramesAnswer, LayerName } from "../base/answers";

export interface Pixels {
  rows: number;
  columns: number;
  /** Stored values; a real value is slope * stored + intercept. */
  values: Uint16Array;
}

/** What a painter shows one picture of. The key tells one stack from another. */
export interface Stack {
  key: string;
  count: number;
  rows: number;
  columns: number;
  load(number: number): Promise<Pixels>;
}

const MOST_BYTES = 400 << 20;

/** Pictures by address, the least recently used ones given up first. */
export class PixelStore {
  #kept = new Map<string, Promise<Pixels>>();
  #bytes = new Map<string, number>();

  constructor(private readonly api: Api) {}

  load(path: string, query: Query = {}): Promise<Pixels> {
    const key = `${path} ${JSON.stringify(query)}`;
    const kept = this.#kept.get(key) ?? this.#ask(key, path, query);
    // Set anew, so that the order of the map is that of use.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept;
  }

  has(path: string, query: Query = {}): boolean {
    return this.#bytes.has(`${path} ${JSON.stringify(query)}`);
  }

  async #ask(key: string, path: string, query: Query): Promise<Pixels> {
    try {
      const answer = await this.api.fetch(path, { ...query, raw: true });
      const buffer = await answer.arrayBuffer();
      const rows = Number(answer.headers.get("X-Rows"));
      const columns = Number(answer.headers.get("X-Columns"));
      this.#bytes.set(key, buffer.byteLength);
      this.#giveUp();
      return { rows, columns, values: new Uint16Array(buffer) };
    } catch (error) {
      this.#kept.delete(key);
      throw error;
    }
  }

  #giveUp(): void {
    let bytes = [...this.#bytes.values()].reduce((sum, one) => sum + one, 0);
    for (const key of this.#kept.keys()) {
      if (bytes <= MOST_BYTES) return;
      bytes -= this.#bytes.get(key) ?? 0;
      this.#bytes.delete(key);
      this.#kept.delete(key);
    }
  }
}

export interface ShiftPx {
  row: number;
  col: number;
}

/** The frames of one layer of a run, the mask moved by hand where it is subtracted. */
export function frameStack(
  store: PixelStore,
  caseId: string,
  info: FramesAnswer,
  layer: LayerName,
  shift: ShiftPx,
): Stack {
  const moved = layer === "subtracted" && (shift.row !== 0 || shift.col !== 0);
  const query: Query = moved ? { shift_row: shift.row, shift_col: shift.col } : {};
  return {
    key: `${caseId}/${layer}/${moved ? `${shift.row},${shift.col}` : "0"}`,
    count: info.frames,
    rows: info.rows,
    columns: info.columns,
    load: (number) => store.load(`/cases/${caseId}/frames/${layer}/${number}`, query),
  };
}

/** Ask for the rest of a stack, nearest first, a few at a time, until told to stop. */
export async function prefetch(stack: Stack, from: number, going: () => boolean): Promise<void> {
  const order = Array.from({ length: stack.count }, (_, step) => (from + step) % stack.count);
  const worker = async (): Promise<void> => {
    for (let next = order.shift(); next !== undefined && going(); next = order.shift()) {
      await stack.load(next).catch(() => undefined);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
}

// Frames that need nothing but their file are there in a moment; what takes longer is asked for more seldom.
const SOON_MS = 100;
const AGAIN_MS = 500;
const MISSING_MS = 2000;
const MOST_MS = 30_000;

interface Prepared {
  state: "ready" | "preparing" | "unavailable";
  sentence: string;
}

/** Ask until what the server prepares is ready; what is unavailable is asked for ever more seldom. */
export async function askPrepared<T extends Prepared>(
  api: Api,
  path: string,
  told: (answer: T) => void,
  signal: AbortSignal,
): Promise<T | null> {
  for (let [again_ms, missing_ms] = [SOON_MS, MISSING_MS]; ; ) {
    const answer = await api.get<T>(path, {}, signal);
    told(answer);
    if (answer.state === "ready") return answer;
    // Sources are looked for when the server starts: an image that is missing now may be found in a moment.
    if (answer.state === "unavailable" && !api.session?.sources_given) return null;
    await pause(answer.state === "preparing" ? again_ms : missing_ms, signal);
    again_ms = Math.min(again_ms * 1.3, AGAIN_MS);
    if (answer.state === "unavailable") missing_ms = Math.min(missing_ms * 1.5, MOST_MS);
  }
}

async function pause(time_ms: number, signal: AbortSignal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, time_ms));
  signal.throwIfAborted();
}

/** How the frames of a run are read as soon as some of its layers are there, or null where its image cannot be had. */
export function askFrames(
  api: Api,
  caseId: string,
  told: (info: FramesAnswer) => void,
  signal: AbortSignal,
): Promise<FramesAnswer | null> {
  return askPrepared<FramesAnswer>(api, `/cases/${caseId}/frames`, told, signal);
}

/** Ask until no layer of a run is coming any more, and tell what each answer says. */
export async function askRest(api: Api, caseId: string, told: (info: FramesAnswer) => void, signal: AbortSignal): Promise<void> {
  for (let again_ms = SOON_MS; ; again_ms = Math.min(again_ms * 1.3, AGAIN_MS)) {
    await pause(again_ms, signal);
    const info = await api.get<FramesAnswer>(`/cases/${caseId}/frames`, {}, signal).catch(away);
    if (info) told(info);
    if (info && !info.coming.length) return;
  }
}

/** A server that does not answer may do so in a moment; whatever else it says is an error. */
function away(error: unknown): null {
  if (error instanceof Refusal && error.status === UNREACHABLE) return null;
  throw error;
}

/** Have the frames of a run prepared that may be opened next; nobody waits for them. */
export async function prepareAhead(api: Api, row: CaseRow | null, signal: AbortSignal): Promise<void> {
  if (row?.kind !== "run" || !row.analysed || !api.session?.sources_given) return;
  await api.get<FramesAnswer>(`/cases/${row.id}/frames`, { ahead: true }, signal).catch(() => undefined);
}
