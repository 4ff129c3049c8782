/** Colours of arrival times: early blue, late yellow, told apart by those who see no red or green. */

import type { Colour } from "./overlay";

// Cividis-like stops: even steps of lightness, safe for red-green blindness.
const STOPS: Colour[] = [
  [64, 90, 235],
  [40, 150, 230],
  [60, 195, 180],
  [150, 215, 110],
  [245, 225, 70],
];

/** The colour at a share of the range, 0 early to 1 late. */
export function arrivalColour(share: number): Colour {
  const at = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const first = Math.min(Math.floor(at), STOPS.length - 2);
  const [a, b] = [STOPS[first]!, STOPS[first + 1]!];
  const mixed = a.map((one, channel) => Math.round(one + (b[channel]! - one) * (at - first)));
  return mixed as Colour;
}

/** 256 colours from early to late, so that a map needs one look-up a pixel. */
export function arrivalTable(): Colour[] {
  return Array.from({ length: 256 }, (_, level) => arrivalColour(level / 255));
}

export const COLOURS: Record<string, Colour> = {
  artery: [255, 92, 80],
  vein: [90, 150, 255],
  catheter: [200, 200, 210],
  tumours: [255, 205, 70],
  feeders: [80, 225, 160],
  shunts: [235, 110, 255],
};

export function css([red, green, blue]: Colour, alpha = 1): string {
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}
