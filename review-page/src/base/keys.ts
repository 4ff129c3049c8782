/** Keyboard: each view says what its keys do, in one list that the help shows as well. */

import { isTyping } from "./dom";

export interface Key {
  /** As `event.key`, with `ctrl+`, `alt+` or `shift+` before it where these are meant. */
  keys: string[];
  says: string;
  group: string;
  act: () => void;
}

let current: Key[] = [];
const always: Key[] = [];

export function setKeys(keys: Key[]): void {
  current = keys;
}

export function addAlways(key: Key): void {
  always.push(key);
}

export function allKeys(): Key[] {
  return [...current, ...always];
}

function nameOf(event: KeyboardEvent): string {
  const before = `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.altKey ? "alt+" : ""}`;
  // Shift is part of a sign such as "?"; it is told only before letters and named keys.
  const shifted = event.shiftKey && (event.key.length > 1 || /[A-Z]/i.test(event.key));
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return `${before}${shifted ? "shift+" : ""}${name}`;
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
  // A button or slider keeps the keys that work it.
  const works = event.target instanceof HTMLElement && event.target.matches("button, a, input, summary");
  if (works && [" ", "Enter"].includes(event.key)) return;
  if (event.target instanceof HTMLInputElement && event.target.type === "range" && event.key.startsWith("Arrow")) return;
  const name = nameOf(event);
  const found = allKeys().find((key) => key.keys.includes(name));
  if (!found) return;
  event.preventDefault();
  found.act();
});
