/** The keyboard of a run: what each key does, in the words of the help. */

import type { Key } from "../base/keys";
import type { Correcting } from "./correcting";
import type { FeederList } from "./feeder-list";
import { LAYER_WORDS, SHIFT_STEP_PX, type FramesView } from "./frames-view";
import type { Layers } from "./layers";

export function frameKeys({ cine, bar }: FramesView): Key[] {
  const group = "Frames";
  return [
    { keys: [" "], says: "Play or pause", group, act: () => cine.toggle() },
    { keys: ["ArrowLeft"], says: "Frame before", group, act: () => cine.step(-1) },
    { keys: ["ArrowRight"], says: "Next frame", group, act: () => cine.step(1) },
    { keys: ["Home"], says: "First frame", group, act: () => void cine.go(0) },
    { keys: ["End"], says: "Last frame", group, act: () => void cine.go(cine.count - 1) },
    { keys: [","], says: "Slower", group, act: () => cine.faster(-1) },
    { keys: ["."], says: "Faster", group, act: () => cine.faster(1) },
    { keys: ["l"], says: "Loop", group, act: () => bar.toggleLoop() },
  ];
}

export function pictureKeys(frames: FramesView, layers: Layers, correcting: Correcting): Key[] {
  const group = "Picture";
  const shift = (row: number, col: number) => (): void =>
    frames.moveMask(frames.shift.row + row * SHIFT_STEP_PX, frames.shift.col + col * SHIFT_STEP_PX);
  return [
    ...LAYER_WORDS.map(([name, label], number): Key => ({ keys: [String(number + 1)], says: label, group, act: () => frames.turnTo(name) })),
    { keys: ["f"], says: "Flicker", group, act: () => frames.flicker() },
    { keys: ["i"], says: "Invert", group, act: () => frames.invert() },
    { keys: ["+", "="], says: "Zoom in", group, act: () => frames.pane.zoomBy(1.25) },
    { keys: ["-"], says: "Zoom out", group, act: () => frames.pane.zoomBy(0.8) },
    { keys: ["r"], says: "Reset window, zoom and shift", group, act: () => frames.reset() },
    { keys: ["m"], says: "Measure", group, act: () => correcting.measure() },
    { keys: ["o"], says: "All overlays on or off", group, act: () => layers.switchAll() },
    { keys: ["a"], says: "Arteries on or off", group, act: () => layers.switchOne("artery") },
    { keys: ["s"], says: "Blush on or off", group, act: () => layers.switchOne("tumours") },
    { keys: ["g"], says: "Arrival colours on or off", group, act: () => layers.switchOne("arrival_s") },
    { keys: ["alt+ArrowUp"], says: "Mask up by a quarter pixel", group, act: shift(-1, 0) },
    { keys: ["alt+ArrowDown"], says: "Mask down", group, act: shift(1, 0) },
    { keys: ["alt+ArrowLeft"], says: "Mask left", group, act: shift(0, -1) },
    { keys: ["alt+ArrowRight"], says: "Mask right", group, act: shift(0, 1) },
  ];
}

export function feederKeys(feeders: FeederList): Key[] {
  const group = "Corrections";
  return [
    { keys: ["ArrowDown", "j"], says: "Next feeder", group, act: () => feeders.move(1) },
    { keys: ["ArrowUp", "k"], says: "Feeder before", group, act: () => feeders.move(-1) },
    { keys: ["y"], says: "Accept the chosen feeder", group, act: () => feeders.judge("accept_feeder") },
    { keys: ["x"], says: "Reject the chosen feeder", group, act: () => feeders.judge("reject_feeder") },
  ];
}

export function toolKeys(correcting: Correcting): Key[] {
  const group = "Corrections";
  return [
    { keys: ["c"], says: "Add a feeder by a click", group, act: () => correcting.addFeeder() },
    { keys: ["t"], says: "Move a target", group, act: () => correcting.moveTarget() },
    { keys: ["b"], says: "Brush", group, act: () => correcting.draw("brush") },
    { keys: ["p"], says: "Polygon", group, act: () => correcting.draw("polygon") },
    { keys: ["Enter"], says: "Keep what is drawn", group, act: () => correcting.keep() },
    { keys: ["Escape"], says: "Leave the tool", group, act: () => correcting.use(null) },
    { keys: ["ctrl+z"], says: "Undo", group, act: () => correcting.undo() },
  ];
}
