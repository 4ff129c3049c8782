/** Requests to the server: the session's token on every change, refusals as errors that hold the server's sentence. */

import type { CorrectionsAnswer, SessionAnswer } from "./answers";
import { remember, settings } from "./settings";

export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly sentence: string,
  ) {
    super(sentence);
  }
}

/** The server could not be reached at all: what was to be sent is still here. */
export const UNREACHABLE = 0;

/** A sentence for the reader about anything that was thrown. */
export function sentenceOf(error: unknown): string {
  return error instanceof Refusal ? error.sentence : `Unforeseen: ${error instanceof Error ? error.message : "error"}`;
}

export type Query = Record<string, string | number | boolean | undefined>;

/** The address of something under /api. */
export function addressOf(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const words = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return `/api${path}${given.length ? `?${words}` : ""}`;
}

export class Api {
  session: SessionAnswer | null = null;
  /** Called when the server no longer knows the session. */
  signedOut: () => void = () => {};

  async signIn(name: string, token: string): Promise<SessionAnswer> {
    this.session = (await this.#send("POST", "/session", { name, token })) as SessionAnswer;
    remember({ signedIn: true });
    return this.session;
  }

  /** Take up the session of this browser; null where nobody is signed in. */
  async resume(): Promise<SessionAnswer | null> {
    // Asked only where there may be one: a refusal would stand in the browser's console as an error.
    if (!settings.signedIn) return null;
    try {
      this.session = await this.get<SessionAnswer>("/session");
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 401) throw error;
      remember({ signedIn: false });
    }
    return this.session;
  }

  async signOut(): Promise<void> {
    remember({ signedIn: false });
    await this.#send("DELETE", "/session");
    this.session = null;
  }

  async get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    const answer = await this.#ask(addressOf(path, query), signal ? { signal } : {});
    return (await answer.json()) as T;
  }

  /** The answer itself, for pixels with their headers. */
  fetch(path: string, query: Query = {}, signal?: AbortSignal): Promise<Response> {
    return this.#ask(addressOf(path, query), signal ? { signal } : {});
  }

  post<T>(path: string, body?: unknown): Promise<T> {
    return this.#send("POST", path, body) as Promise<T>;
  }

  put<T>(path: string, body: unknown): Promise<T> {
    return this.#send("PUT", path, body) as Promise<T>;
  }

  /** A change of a case, made on a revision of what the reader says of it. */
  change(method: string, path: string, revision: number, body?: unknown): Promise<CorrectionsAnswer> {
    return this.#send(method, path, body, { "If-Match": `"${revision}"` }) as Promise<CorrectionsAnswer>;
  }

  async #send(method: string, path: string, body?: unknown, more: Record<string, string> = {}): Promise<unknown> {
    const headers: Record<string, string> = { "X-CSRF-Token": this.session?.csrf ?? "", ...more };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const asked: RequestInit = { method, headers };
    if (body !== undefined) asked.body = JSON.stringify(body);
    const answer = await this.#ask(addressOf(path), asked);
    return answer.status === 204 ? null : answer.json();
  }

  async #ask(address: string, asked: RequestInit): Promise<Response> {
    let answer: Response;
    try {
      answer = await fetch(address, { credentials: "same-origin", ...asked });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new Refusal(UNREACHABLE, "unreachable", "The server does not answer. Is it still running?");
    }
    if (answer.ok) return answer;
    const refusal = await refusalOf(answer);
    if (answer.status === 401) this.signedOut();
    throw refusal;
  }
}

async function refusalOf(answer: Response): Promise<Refusal> {
  try {
    const told = (await answer.json()) as { code: string; sentence: string };
    return new Refusal(answer.status, told.code, told.sentence);
  } catch {
    return new Refusal(answer.status, "unknown", `The server answered ${answer.status} without saying why.`);
  }
}
