/** Which part of a download's time is shown, and where a moment is drawn.
 *
 * Pure. Times in seconds, places in pixels from the left edge of a plot. Laws:
 *
 * - 0 <= from < to <= end;
 * - `timeOf(xOf(t, width), width)` is `t`;
 * - zooming at a moment does not move that moment, unless an end of the download is in the way.
 */

const LEAST_SPAN_S = 1e-4;
const TICK_PIXELS = 90;

export class TimeScale {
  /** @param end how long the download took, or has run, in seconds. */
  constructor(end = 1) {
    this.end = Math.max(end, LEAST_SPAN_S);
    this.from = 0;
    this.to = this.end;
    this._watchers = new Set();
  }

  get span() {
    return this.to - this.from;
  }

  /** Whether all of it is shown. */
  get isWhole() {
    return this.from <= 0 && this.to >= this.end;
  }

  /** Call `changed` after each change; returns a function that ends that. */
  watch(changed) {
    this._watchers.add(changed);
    return () => this._watchers.delete(changed);
  }

  /** The download goes on: who sees all of it, or its end, goes on doing so. */
  setEnd(end) {
    const wasWhole = this.isWhole;
    const wasAtEnd = this.to >= this.end;
    const span = this.span;
    this.end = Math.max(end, LEAST_SPAN_S);
    if (wasWhole) this.show(0, this.end);
    else if (wasAtEnd) this.show(this.end - span, this.end);
    else this.show(this.from, this.to);
  }

  /** Show these times, or what is nearest to that. */
  show(from, to) {
    const span = Math.min(Math.max(to - from, LEAST_SPAN_S), this.end);
    this.from = Math.min(Math.max(from, 0), this.end - span);
    this.to = this.from + span;
    if (this.end - this.to < this.end * 1e-12) this.to = this.end;
    for (const changed of this._watchers) changed();
  }

  showAll() {
    this.show(0, this.end);
  }

  /** Show `factor` times as much (less than 1: closer), keeping a moment where it is. */
  zoomAt(time, factor) {
    const held = Math.min(Math.max(time, this.from), this.to);
    const span = Math.min(Math.max(this.span * factor, LEAST_SPAN_S), this.end);
    const from = held - ((held - this.from) * span) / this.span;
    this.show(from, from + span);
  }

  /** Move by a part of what is shown; positive towards the end. */
  pan(part) {
    this.show(this.from + part * this.span, this.to + part * this.span);
  }

  xOf(time, width) {
    return ((time - this.from) / this.span) * width;
  }

  timeOf(x, width) {
    return this.from + (x / width) * this.span;
  }

  /** Round moments to be labelled, some ninety pixels apart. */
  ticks(width) {
    const step = roundUp((this.span * TICK_PIXELS) / Math.max(width, TICK_PIXELS));
    const found = [];
    for (let index = Math.ceil(this.from / step); index * step <= this.to; index += 1) {
      found.push(index * step);
    }
    return { step, times: found };
  }
}

/** 1, 2 or 5 times a power of ten, not below `value`. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  for (const digit of [1, 2, 5]) if (digit * power >= value * (1 - 1e-9)) return digit * power;
  return 10 * power;
}

/** A moment as it is written on the axis, with as many digits as the step needs. */
export function tickText(time, step) {
  if (step < 0.001) return `${(time * 1000).toFixed(step < 0.0001 ? 2 : 1)} ms`;
  if (step < 0.1) return `${Math.round(time * 1000)} ms`;
  return `${time.toFixed(step < 1 ? 1 : 0)} s`;
}
