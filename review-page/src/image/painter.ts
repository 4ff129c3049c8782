/** What puts grey pictures on the screen: Cornerstone where there is WebGL, a plain canvas where there is none. */

import { CanvasPainter } from "./canvas-painter";
import type { Stack } from "./stack";
import type { View } from "./view";

/** Grey window in stored values; inverted draws its upper end black. */
export interface Grey {
  low: number;
  high: number;
  inverted: boolean;
}

export interface Painter {
  readonly kind: "webgl" | "canvas";
  /** Show one picture; resolves when it is on the screen, or when a later one took its place. */
  show(stack: Stack, number: number, grey: Grey, view: View): Promise<void>;
  resize(view: View): void;
  dispose(): void;
}

let webgl: boolean | undefined;

/** Whether this browser draws with WebGL 2. */
export function hasWebGl(): boolean {
  if (webgl === undefined) {
    const context = document.createElement("canvas").getContext("webgl2");
    webgl = context !== null;
    // Contexts are few; this one was only a question.
    context?.getExtension("WEBGL_lose_context")?.loseContext();
  }
  return webgl;
}

/** Load what draws before it is asked for: Cornerstone is large, and the first case should not wait for it. */
export function warmUp(): void {
  if (hasWebGl()) void import("./cornerstone-painter").catch(() => undefined);
}

/** A painter in an element. Cornerstone is loaded only where it can be used. */
export async function makePainter(host: HTMLElement): Promise<Painter> {
  if (!hasWebGl()) return new CanvasPainter(host);
  try {
    const { CornerstonePainter } = await import("./cornerstone-painter");
    return new CornerstonePainter(host);
  } catch (error) {
    console.warn("Cornerstone could not start; a plain canvas is used instead.", error);
    return new CanvasPainter(host);
  }
}
