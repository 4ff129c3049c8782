/** The help: every key of the view that is open, and what the colours and buttons mean. */

import { button, el } from "./dom";
import { addAlways, allKeys } from "./keys";

const NAMES: Record<string, string> = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

function keyName(key: string): HTMLElement {
  const words = key.split("+").map((one) => NAMES[one] ?? (one.length === 1 ? one.toUpperCase() : one));
  // "+" itself would be split into nothing.
  const shown = key === "+" ? "+" : words.map((one) => (one === "ctrl" ? "Ctrl" : one === "alt" ? "Alt" : one)).join(" ");
  return el("kbd", {}, shown.replace("shift", "Shift"));
}

function groups(): HTMLElement[] {
  const names = [...new Set(allKeys().map((key) => key.group))];
  return names.map((group) => {
    const rows = allKeys()
      .filter((key) => key.group === group)
      .map((key) => el("div", { class: "key" }, el("dt", {}, ...key.keys.map(keyName)), el("dd", {}, key.says)));
    return el("section", {}, el("h3", {}, group), el("dl", {}, ...rows));
  });
}

export function showHelp(): void {
  const dialog = el("dialog", { class: "help", attrs: { "aria-label": "Help" } });
  const close = button({ label: "Close", class: "primary", act: () => dialog.remove() });
  const mouse =
    "On the picture: drag for the grey window, drag with Shift or the middle button to move, wheel for frames or " +
    "slices, wheel with Ctrl to zoom, click for the curve at that place.";
  dialog.append(
    el("header", { class: "row" }, el("h2", {}, "Keys and mouse"), close),
    el("p", {}, mouse),
    el("div", { class: "groups" }, ...groups()),
    el("p", { class: "quiet" }, "Research software; not a medical device. Probabilities are the program's, the word is yours."),
  );
  dialog.addEventListener("cancel", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

addAlways({ keys: ["?"], says: "This help", group: "Everywhere", act: showHelp });
