"use strict";
for (const flicker of document.querySelectorAll("[data-flicker]")) {
  const picture = flicker.querySelector(".flicker");
  const state = flicker.querySelector(".state");
  const button = flicker.querySelector("button");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let playing = !still, seen = false, timer = null;
  const show = (before) => {
    picture.classList.toggle("show-before", before);
    state.textContent = before ? "before correction" : "after correction";
  };
  const run = () => {
    clearInterval(timer);
    timer = playing && seen ? setInterval(() => show(!picture.classList.contains("show-before")), 900) : null;
    button.textContent = playing ? "Pause" : "Play";
    button.setAttribute("aria-pressed", String(playing));
  };
  button.hidden = false;
  button.addEventListener("click", () => { playing = !playing; if (!playing) show(false); run(); });
  picture.addEventListener("pointerenter", () => { if (!playing) show(true); });
  picture.addEventListener("pointerleave", () => { if (!playing) show(false); });
  new IntersectionObserver((entries) => { seen = entries[0].isIntersecting; run(); }).observe(picture);
  run();
}
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
const filter = document.querySelector("[data-filter]");
if (filter) {
  filter.closest(".filter").hidden = false;
  const rows = [...document.querySelectorAll("[data-row]")];
  const count = document.querySelector("[data-count]");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} of ${rows.length} shown` : "";
  });
}
