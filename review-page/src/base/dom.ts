/** Elements made in code. Text goes in as text alone: nothing that a server or a reader wrote is ever read as markup. */

export type Child = Node | string | number | null | undefined | false;

type Handlers = { [K in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[K]) => void };

export interface Made {
  class?: string;
  /** Attributes by name; false and undefined leave them out, true is an empty value. */
  attrs?: Record<string, string | number | boolean | undefined>;
  on?: Handlers;
}

/** An element with its attributes, handlers and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  made: Made = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (made.class) element.className = made.class;
  for (const [name, value] of Object.entries(made.attrs ?? {})) setAttribute(element, name, value);
  for (const [name, handler] of Object.entries(made.on ?? {})) {
    element.addEventListener(name, handler as EventListener);
  }
  put(element, ...children);
  return element;
}

function setAttribute(element: HTMLElement, name: string, value: string | number | boolean | undefined): void {
  if (value === undefined || value === false) return;
  // The policy of the server forbids both in markup, and neither is needed.
  if (name === "style" || name.startsWith("on")) throw new TypeError(`Expected no attribute ${name}`);
  element.setAttribute(name, value === true ? "" : String(value));
}

function put(parent: HTMLElement, ...children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

/** Show these children and no others; the focus goes to what is called the same as before. */
export function fill(parent: HTMLElement, ...children: Child[]): void {
  const focused = parent.contains(document.activeElement) ? nameOf(document.activeElement) : "";
  parent.replaceChildren();
  put(parent, ...children);
  if (!focused) return;
  const same = [...parent.querySelectorAll<HTMLElement>("button, input, select, textarea, summary")];
  same.find((one) => nameOf(one) === focused)?.focus({ preventScroll: true });
}

function nameOf(element: Element | null): string {
  return element?.getAttribute("aria-label") ?? element?.textContent ?? "";
}

export interface ButtonMade {
  label: string;
  title?: string;
  class?: string;
  /** Shown instead of the label, which then is read out. */
  glyph?: string;
  pressed?: boolean;
  disabled?: boolean;
  act: () => void;
}

/** A button; with a glyph the label is its name for screen readers and its tooltip. */
export function button(made: ButtonMade): HTMLButtonElement {
  const made_ = el(
    "button",
    {
      class: made.class ?? "",
      attrs: {
        type: "button",
        title: made.title ?? (made.glyph ? made.label : undefined),
        "aria-label": made.glyph ? made.label : undefined,
        "aria-pressed": made.pressed === undefined ? undefined : String(made.pressed),
        disabled: made.disabled,
      },
      on: { click: () => made.act() },
    },
    made.glyph ?? made.label,
  );
  return made_;
}

export function setPressed(element: HTMLElement, pressed: boolean): void {
  element.setAttribute("aria-pressed", String(pressed));
}

/** A choice out of few, with its name. */
export function select(
  label: string,
  options: [value: string, text: string][],
  value: string,
  change: (value: string) => void,
): HTMLLabelElement {
  const list = el(
    "select",
    { attrs: { "aria-label": label }, on: { change: () => change(list.value) } },
    ...options.map(([one, text]) => el("option", { attrs: { value: one, selected: one === value } }, text)),
  );
  return el("label", { class: "field" }, el("span", {}, label), list);
}

/** Whether keys typed now belong to a field of text. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  const fields = "textarea, select, input:not([type=range]):not([type=checkbox]):not([type=button])";
  return target.isContentEditable || target.matches(fields);
}
