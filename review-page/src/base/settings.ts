/** What this browser remembers of the layout. No finding, name or id of a patient is kept here. */

const KEY = "angio-review";

export interface Settings {
  theme: "dark" | "light";
  speed: number;
  loop: boolean;
  layer: string;
  opacities: Record<string, number>;
  hidden: string[];
  sort: string;
  descending: boolean;
  /** Whether the cookie of a session may be there. */
  signedIn: boolean;
}

const DEFAULTS: Settings = {
  theme: "dark",
  speed: 1,
  loop: true,
  layer: "corrected",
  opacities: {},
  hidden: ["artery", "vein", "catheter", "feeders", "arrival_s"],
  sort: "subject",
  descending: false,
  signedIn: false,
};

function read(): Settings {
  try {
    return { ...DEFAULTS, ...(JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Settings>) };
  } catch {
    return { ...DEFAULTS };
  }
}

export const settings: Settings = read();

/** Change settings and keep them. */
export function remember(change: Partial<Settings>): void {
  Object.assign(settings, change);
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing still shows everything.
  }
}
