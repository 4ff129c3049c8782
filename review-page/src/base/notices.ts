/** Short notices in a corner, read out by screen readers, and questions that have to be answered. */

import { button, el } from "./dom";

const region = el("div", { class: "notices", attrs: { role: "status", "aria-live": "polite" } });
document.body.append(region);

/** Tell the reader something; a failure stays longer and can be put away. */
export function notify(sentence: string, kind: "told" | "failed" = "told"): void {
  const notice = el("div", { class: `notice ${kind}` }, el("span", {}, sentence));
  const close = (): void => notice.remove();
  notice.append(button({ label: "Put away", glyph: "×", class: "plain", act: close }));
  region.append(notice);
  setTimeout(close, kind === "failed" ? 20_000 : 5_000);
}

/** Open a dialog that is only read, and return where its content goes. */
export function openDialog(title: string, name: string, ...before: Node[]): HTMLElement {
  const content = el("div", { class: "content" }, el("p", { class: "quiet", attrs: { role: "status" } }, "Reading…"));
  const dialog = el("dialog", { class: name, attrs: { "aria-label": title } });
  const close = button({ label: "Close", class: "primary", act: () => dialog.remove() });
  dialog.append(el("header", { class: "row" }, el("h2", {}, title), el("span", { class: "gap" }), close), ...before, content);
  dialog.addEventListener("cancel", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return content;
}

/** Ask in a dialog; the answer is the value of the button, the empty word when it was closed. */
export function ask(title: string, sentence: string, answers: [value: string, label: string][]): Promise<string> {
  return new Promise((resolve) => {
    const dialog = el("dialog", { class: "question", attrs: { "aria-label": title } });
    const finish = (value: string): void => {
      dialog.remove();
      resolve(value);
    };
    const choices = answers.map(([value, label], number) =>
      button({ label, class: number === 0 ? "primary" : "", act: () => finish(value) }),
    );
    dialog.append(el("h2", {}, title), el("p", {}, sentence), el("div", { class: "row" }, ...choices));
    dialog.addEventListener("cancel", () => finish(""));
    document.body.append(dialog);
    dialog.showModal();
  });
}
