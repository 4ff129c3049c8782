/** The bar below the frames: play, step, speed, the frame that is shown, and the phases. */

import { button, el, fill, setPressed } from "../base/dom";
import { remember, settings } from "../base/settings";
import { num } from "../base/words";
import type { Cine } from "../image/cine";
import { phaseParts, type Phases } from "./phases";

export class CineBar {
  readonly element = el("div", { class: "cine" });
  readonly #play: HTMLButtonElement;
  readonly #loop: HTMLButtonElement;
  readonly #scrub = el("input", { attrs: { type: "range", min: 0, value: 0, "aria-label": "Frame" } });
  readonly #words = el("output", { class: "frameword" });
  readonly #speed = el("span", { class: "speed" });
  readonly #phases = el("div", { class: "phasebar", attrs: { "aria-hidden": "true" } });

  constructor(
    private readonly cine: Cine,
    private readonly times_s: (number | null)[],
  ) {
    this.#play = button({ label: "Play", glyph: "▶", class: "play", act: () => cine.toggle() });
    this.#loop = button({ label: "Loop", pressed: true, act: () => this.toggleLoop() });
    this.#scrub.max = String(cine.count - 1);
    this.#scrub.addEventListener("input", () => {
      cine.stop();
      void cine.go(Number(this.#scrub.value));
    });
    fill(
      this.element,
      button({ label: "Frame before", glyph: "|◂", title: "Frame before (←)", act: () => cine.step(-1) }),
      this.#play,
      button({ label: "Next frame", glyph: "▸|", title: "Next frame (→)", act: () => cine.step(1) }),
      el("div", { class: "scrub" }, this.#scrub, this.#phases),
      this.#words,
      button({ label: "Slower", glyph: "−", title: "Slower (,)", act: () => cine.faster(-1) }),
      this.#speed,
      button({ label: "Faster", glyph: "+", title: "Faster (.)", act: () => cine.faster(1) }),
      this.#loop,
    );
  }

  toggleLoop(): void {
    this.cine.loop = !this.cine.loop;
    this.show();
  }

  show(): void {
    const { number, count, playing, speed, loop } = this.cine;
    this.#showPlay(playing);
    this.#scrub.value = String(number);
    const time = num(this.times_s[number], 2, "s");
    this.#scrub.setAttribute("aria-valuetext", `Frame ${number + 1} of ${count}, ${time}`);
    this.#words.textContent = `${number + 1}/${count} · ${time}`;
    this.#speed.textContent = `×${speed}`;
    setPressed(this.#loop, loop);
    if (settings.speed !== speed || settings.loop !== loop) remember({ speed, loop });
  }

  showPhases(phases: Phases): void {
    fill(this.#phases, ...phaseParts(phases, this.cine.count));
  }

  #showPlay(playing: boolean): void {
    const label = playing ? "Pause" : "Play";
    if (this.#play.getAttribute("aria-label") === label) return;
    this.#play.textContent = playing ? "❚❚" : "▶";
    this.#play.setAttribute("aria-label", label);
    this.#play.title = `${label} (Space)`;
  }
}
