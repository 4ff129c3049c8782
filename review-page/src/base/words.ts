/** Numbers and names as a reader wants to read them. Unknown is a dash, never 0. */

export const UNKNOWN = "–";

export function num(value: number | null | undefined, digits = 1, unit = ""): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  return `${value.toFixed(digits)}${unit && ` ${unit}`}`;
}

export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? UNKNOWN : `${Math.round(share * 100)} %`;
}

/** `20240304` as `2024-03-04`. */
export function day(date: string): string {
  return /^\d{8}$/.test(date) ? `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}` : date;
}

/** A time as it is on the reader's own clock, to the second. */
export function moment(time: string): string {
  const when = new Date(time);
  const two = (value: number): string => String(value).padStart(2, "0");
  const date = [when.getFullYear(), two(when.getMonth() + 1), two(when.getDate())].join("-");
  return `${date} ${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
}

/** `MOTION_LARGE` as `Motion large`. */
export function plain(name: string): string {
  const words = name.replaceAll("_", " ").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Angulation as angiographers say it: positive primary angles are LAO, positive secondary ones cranial. */
export function angulation(pose: [number, number] | null): string {
  if (!pose) return "Angulation unknown";
  const [primary, secondary] = pose;
  const side = primary >= 0 ? "LAO" : "RAO";
  const tilt = secondary >= 0 ? "CRA" : "CAU";
  return `${side} ${Math.abs(primary).toFixed(0)}° ${tilt} ${Math.abs(secondary).toFixed(0)}°`;
}

export const STATE_WORDS: Record<string, string> = { new: "New", in_progress: "In progress", done: "Done" };
