/** The page: signs in, then shows what the address says: `#/` the worklist, `#/case/<id>` a case. */

import "./styles.css";

import type { CaseAnswer, CaseRow } from "./base/answers";
import { Api, Refusal, sentenceOf } from "./base/api";
import { button, el, fill } from "./base/dom";
import { showHelp } from "./base/help";
import { setKeys } from "./base/keys";
import { notify } from "./base/notices";
import { remember, settings } from "./base/settings";
import { warmUp } from "./image/painter";
import { FollowPage } from "./follow/follow-page";
import { RunPage } from "./run/run-page";
import { signIn } from "./sign-in";
import { Worklist } from "./worklist/worklist";

interface Shown {
  element: HTMLElement;
  dispose(): void;
}

const api = new Api();
const page = document.getElementById("page")!;
const head = el("header", { class: "head row" });
let shown: Shown | null = null;
let visits = 0;

function go(hash: string): void {
  location.hash = hash;
}

function show(next: Shown): void {
  shown?.dispose();
  shown = next;
  page.replaceChildren(head, next.element);
}

function setTheme(theme: "dark" | "light"): void {
  remember({ theme });
  document.documentElement.dataset.theme = theme;
}

function showHead(): void {
  const home = el("a", { class: "home", attrs: { href: "#/" } }, "angio review");
  const other = (): "dark" | "light" => (settings.theme === "dark" ? "light" : "dark");
  fill(
    head,
    home,
    el("span", { class: "quiet" }, "Research software"),
    el("span", { class: "gap" }),
    el("span", { class: "reader" }, `Reader: ${api.session?.reader ?? ""}`),
    button({ label: "Light or dark", glyph: "◐", act: () => setTheme(other()) }),
    button({ label: "Help", glyph: "?", title: "Keys and mouse (?)", act: showHelp }),
    button({ label: "Sign out", act: () => void signOut() }),
  );
}

async function signOut(): Promise<void> {
  shown?.dispose();
  shown = null;
  await api.signOut().catch(() => undefined);
  await begin();
}

function failed(error: unknown, again: () => void): Shown {
  const sentence = sentenceOf(error);
  const gone = error instanceof Refusal && error.status === 404;
  const title = gone ? "This case is not among the results" : "This could not be shown";
  const element = el("main", { class: "failed" }, el("h1", {}, title), el("p", { attrs: { role: "alert" } }, sentence), el("div", { class: "row" }, button({ label: "Try again", act: again }), button({ label: "Worklist", class: "primary", act: () => go("#/") })));
  return { element, dispose: () => undefined };
}

async function route(): Promise<void> {
  const visit = ++visits;
  const wanted = /^#\/case\/(c[0-9a-f]{16})$/.exec(location.hash)?.[1];
  try {
    if (wanted) await showCase(wanted, visit);
    else await showWorklist();
  } catch (error) {
    const left = visit !== visits || (error instanceof DOMException && error.name === "AbortError");
    if (left || (error instanceof Refusal && error.status === 401)) return;
    show(failed(error, () => void route()));
  }
}

async function showWorklist(): Promise<void> {
  document.title = "Worklist – angio review";
  const list = new Worklist(api, (row: CaseRow) => go(`#/case/${row.id}`));
  show(list);
  await list.start();
  warmUp();
}

async function showCase(id: string, visit: number): Promise<void> {
  setKeys([]);
  const answer = await api.get<CaseAnswer>(`/cases/${id}`);
  if (visit !== visits) return;
  if (answer.row.kind === "run") {
    const run = new RunPage(api, id, go);
    show(run);
    await run.start();
  } else {
    const follow = new FollowPage(api, id, go);
    show(follow);
    await follow.start(answer);
  }
}

async function begin(): Promise<void> {
  setKeys([]);
  await signIn(api, page);
  showHead();
  await route();
}

async function start(): Promise<void> {
  setTheme(settings.theme);
  api.signedOut = () => {
    if (!shown) return;
    shown.dispose();
    shown = null;
    notify("You were signed out. What was not saved is kept in this tab.", "failed");
    void begin();
  };
  try {
    if (!(await api.resume())) await signIn(api, page);
  } catch (error) {
    page.replaceChildren(failed(error, () => location.reload()).element);
    return;
  }
  showHead();
  window.addEventListener("hashchange", () => void route());
  await route();
}

void start();
