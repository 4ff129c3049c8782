/** Grey pictures by Cornerstone3D: a stack viewport that is fed by an image loader of our own. */

import { Enums, RenderingEngine, imageLoader, init, metaData, utilities } from "@cornerstonejs/core";
import type { Types } from "@cornerstonejs/core";

import type { Grey, Painter } from "./painter";
import type { Pixels, Stack } from "./stack";
import type { View } from "./view";

const SCHEME = "angio";

/** Stacks by key, for the loader, which is told nothing but an id. */
const stacks = new Map<string, { stack: Stack; aspect: number }>();
let viewports = 0;
let engine: RenderingEngine | null = null;

function idOf(stack: Stack, number: number): string {
  return `${SCHEME}:${stack.key}#${number}`;
}

function ofId(id: string): { stack: Stack; aspect: number; number: number } | undefined {
  const end = id.lastIndexOf("#");
  const found = stacks.get(id.slice(SCHEME.length + 1, end));
  return found && { ...found, number: Number(id.slice(end + 1)) };
}

/** The geometry that Cornerstone needs: a plane of square pixels at the origin, or of rows `aspect` high. */
function describe(type: string, id: string): unknown {
  if (!id.startsWith(`${SCHEME}:`)) return undefined;
  const found = ofId(id);
  if (!found) return undefined;
  const { rows, columns } = found.stack;
  if (type === "imagePlaneModule") {
    return {
      rows,
      columns,
      frameOfReferenceUID: found.stack.key,
      imageOrientationPatient: [1, 0, 0, 0, 1, 0],
      rowCosines: [1, 0, 0],
      columnCosines: [0, 1, 0],
      imagePositionPatient: [0, 0, 0],
      pixelSpacing: [found.aspect, 1],
      rowPixelSpacing: found.aspect,
      columnPixelSpacing: 1,
    };
  }
  if (type === "imagePixelModule") {
    const bits = { bitsAllocated: 16, bitsStored: 16, highBit: 15, pixelRepresentation: 0 };
    return { rows, columns, samplesPerPixel: 1, photometricInterpretation: "MONOCHROME2", ...bits };
  }
  return type === "generalSeriesModule" ? { modality: "XA" } : undefined;
}

function imageOf(id: string, { rows, columns, values }: Pixels, aspect: number): Types.IImage {
  const voxelManager = utilities.VoxelManager.createImageVoxelManager({
    width: columns,
    height: rows,
    scalarData: values,
    numberOfComponents: 1,
    id,
  });
  return {
    imageId: id,
    rows,
    columns,
    height: rows,
    width: columns,
    rowPixelSpacing: aspect,
    columnPixelSpacing: 1,
    slope: 1,
    intercept: 0,
    windowCenter: 32768,
    windowWidth: 65536,
    minPixelValue: 0,
    maxPixelValue: 65535,
    voiLUTFunction: Enums.VOILUTFunctionType.LINEAR,
    color: false,
    rgba: false,
    numberOfComponents: 1,
    invert: false,
    dataType: "Uint16Array",
    sizeInBytes: values.byteLength,
    getPixelData: () => values,
    voxelManager,
  } as unknown as Types.IImage;
}

function loadById(id: string): { promise: Promise<Types.IImage> } {
  const found = ofId(id);
  if (!found) return { promise: Promise.reject(new Error("Expected a picture of an open stack")) };
  return { promise: found.stack.load(found.number).then((pixels) => imageOf(id, pixels, found.aspect)) };
}

/** The one engine of the page: contexts of WebGL are few, and every picture can be drawn by the same one. */
function theEngine(): RenderingEngine {
  if (engine) return engine;
  if (!init({ debug: { statsOverlay: false }, rendering: { webGlContextCount: 1 } })) throw new Error("Cornerstone did not start");
  imageLoader.registerImageLoader(SCHEME, loadById as unknown as Types.ImageLoaderFn);
  metaData.addProvider(describe, 10_000);
  engine = new RenderingEngine("review");
  return engine;
}

export class CornerstonePainter implements Painter {
  readonly kind = "webgl";
  readonly #engine = theEngine();
  readonly #id = `picture-${viewports++}`;
  readonly #viewport: Types.IStackViewport;
  readonly #element: HTMLDivElement;
  #stack = "";
  #number = -1;
  #grey = "";
  #disposed = false;
  #wanted: { stack: Stack; number: number; grey: Grey; view: View } | null = null;
  #working: Promise<void> | null = null;

  constructor(host: HTMLElement) {
    this.#element = document.createElement("div");
    this.#element.className = "picture";
    host.prepend(this.#element);
    this.#engine.enableElement({
      viewportId: this.#id,
      type: Enums.ViewportType.STACK,
      element: this.#element,
      defaultOptions: { background: [0, 0, 0] },
    });
    this.#viewport = this.#engine.getViewport(this.#id) as Types.IStackViewport;
  }

  show(stack: Stack, number: number, grey: Grey, view: View): Promise<void> {
    this.#wanted = { stack, number, grey, view };
    // One at a time: Cornerstone's own steps overlap badly. What was asked for meanwhile is shown next, the rest never.
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
    return this.#working;
  }

  resize(view: View): void {
    this.#engine.resize(true, false);
    if (this.#number >= 0) this.#aim(view);
    this.#viewport.render();
  }

  dispose(): void {
    this.#wanted = null;
    this.#disposed = true;
    this.#engine.disableElement(this.#id);
    this.#element.remove();
  }

  async #work(): Promise<void> {
    while (this.#wanted) {
      const { stack, number, grey, view } = this.#wanted;
      this.#wanted = null;
      await this.#turnTo(stack, number, view.aspect);
      if (this.#disposed) return;
      this.#window(grey);
      this.#aim(view);
      this.#viewport.render();
    }
  }

  async #turnTo(stack: Stack, number: number, aspect: number): Promise<void> {
    if (stack.key !== this.#stack) {
      stacks.set(stack.key, { stack, aspect });
      const ids = Array.from({ length: stack.count }, (_, one) => idOf(stack, one));
      await this.#viewport.setStack(ids, number);
      [this.#stack, this.#number, this.#grey] = [stack.key, number, ""];
    } else if (number !== this.#number) {
      await this.#viewport.setImageIdIndex(number);
      this.#number = number;
    }
  }

  #window({ low, high, inverted }: Grey): void {
    const key = `${low} ${high} ${inverted}`;
    if (key === this.#grey) return;
    this.#grey = key;
    this.#viewport.setProperties({ voiRange: { lower: low, upper: high }, invert: inverted });
  }

  #aim(view: View): void {
    const [row, col] = view.center;
    const focalPoint: Types.Point3 = [col, row * view.aspect, 0];
    this.#viewport.setCamera({
      focalPoint,
      position: [focalPoint[0], focalPoint[1], -1000],
      viewPlaneNormal: [0, 0, -1],
      viewUp: [0, -1, 0],
      parallelScale: view.screen.height / 2 / view.scale,
    });
  }
}
