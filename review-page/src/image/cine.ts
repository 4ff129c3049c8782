/** Time passing over frames: by their own times, faster or slower, with or without an end. */

const LEAST_INTERVAL_S = 0.02;
const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];

export class Cine {
  number = 0;
  playing = false;
  loop: boolean;
  speed: number;
  /** Frames that were really shown in the last second of playing, for the corner of the picture. */
  rate = 0;
  #run = 0;

  constructor(
    private readonly times_s: (number | null)[],
    settings: { loop: boolean; speed: number },
    /** Resolves when the frame is on the screen. */
    private readonly show: (number: number) => Promise<void>,
    private readonly changed: () => void,
  ) {
    this.loop = settings.loop;
    this.speed = settings.speed;
  }

  get count(): number {
    return this.times_s.length;
  }

  async go(number: number): Promise<void> {
    this.number = Math.min(Math.max(number, 0), this.count - 1);
    this.changed();
    await this.show(this.number);
  }

  step(by: number): void {
    this.stop();
    const to = this.number + by;
    void this.go(this.loop ? (to + this.count) % this.count : to);
  }

  faster(by: 1 | -1): void {
    const at = SPEEDS.indexOf(this.speed);
    this.speed = SPEEDS[Math.min(Math.max(at + by, 0), SPEEDS.length - 1)] ?? 1;
    this.changed();
  }

  toggle(): void {
    if (this.playing) this.stop();
    else void this.#play();
  }

  stop(): void {
    this.#run += 1;
    this.playing = false;
    this.changed();
  }

  async #play(): Promise<void> {
    const run = ++this.#run;
    this.playing = true;
    if (!this.loop && this.number === this.count - 1) this.number = -1;
    const shown: number[] = [];
    while (this.#run === run) {
      const next = this.number + 1;
      if (next >= this.count && !this.loop) break;
      const began = performance.now();
      await this.go(next % this.count);
      this.#count(shown);
      await this.#wait(began + 1000 * this.#interval_s());
    }
    if (this.#run === run) this.stop();
  }

  #count(shown: number[]): void {
    const now = performance.now();
    shown.push(now);
    while (shown[0]! < now - 1000) shown.shift();
    this.rate = shown.length;
  }

  #interval_s(): number {
    const [here, next] = [this.times_s[this.number], this.times_s[this.number + 1]];
    const fallback = (this.times_s[1] ?? 0.25) - (this.times_s[0] ?? 0);
    const apart = here != null && next != null ? next - here : fallback;
    return Math.max((apart > 0 ? apart : 0.25) / this.speed, LEAST_INTERVAL_S);
  }

  /** Wait by the screen's own beat, so that a frame is painted before the next is asked for. */
  #wait(until: number): Promise<void> {
    return new Promise((resolve) => {
      const beat = (): void => {
        if (performance.now() >= until - 4) resolve();
        else requestAnimationFrame(beat);
      };
      requestAnimationFrame(beat);
    });
  }
}
