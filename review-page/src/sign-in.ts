/** Who reads: a name, and the token where the server asks for one. */

import { Refusal, sentenceOf, type Api } from "./base/api";
import { el } from "./base/dom";

/** Show the form; resolves once somebody is signed in. */
export function signIn(api: Api, host: HTMLElement): Promise<void> {
  return new Promise((resolve) => {
    const name = el("input", { attrs: { id: "name", required: true, maxlength: 60, autocomplete: "off", spellcheck: "false" } });
    const token = el("input", { attrs: { id: "token", type: "password", maxlength: 200, autocomplete: "off" } });
    const failed = el("p", { class: "bad", attrs: { role: "alert" } });
    const form = el(
      "form",
      { class: "signin" },
      el("h1", {}, "angio review"),
      el("p", {}, "Your name is kept with everything that you say of a case."),
      el("label", { attrs: { for: "name" } }, "Reader"),
      name,
      el("label", { attrs: { for: "token" } }, "Token, if you were given one"),
      token,
      el("button", { class: "primary", attrs: { type: "submit" } }, "Begin"),
      failed,
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await api.signIn(name.value, token.value);
        resolve();
      } catch (error) {
        failed.textContent = error instanceof Refusal && error.status === 422 ? "Please give a name of at most 60 characters." : sentenceOf(error);
      }
    });
    host.replaceChildren(el("main", { attrs: { "aria-label": "Sign in" } }, form));
    name.focus();
  });
}
