/** What became of each block, at any moment: a state for each share and segment. Pure. */

import { segmentCount } from "./model.js";

export const NONE = 0;
export const WANTED = 1;
export const PENDING = 2;
export const HAVE = 3;
export const BAD = 4;
export const GONE = 5;

export const STATE_NAMES = ["not asked for", "wanted", "pending", "have", "bad", "gone"];
const CODES = { wanted: WANTED, pending: PENDING, have: HAVE, bad: BAD, gone: GONE };

// Of several segments in one column of pixels, the first of these is shown.
const TELLING = [BAD, PENDING, WANTED, HAVE, GONE, NONE];

const MOST_CELLS = 40e6; // a byte each
const MOST_SHARES = 2000; // a row of pixels each, at least; Tahoe has at most 256 of a file, on some servers more than once

export class BlockMap {
  constructor(model) {
    this.segments = segmentCount(model);
    this.shares = model.shares.length;
    this.isTooLarge = this.segments * this.shares > MOST_CELLS || this.shares > MOST_SHARES;
    this._events = [...model.map].sort((a, b) => a.at - b.at);
    this._cells = new Uint8Array(this.isTooLarge ? 0 : this.segments * this.shares);
    this._applied = 0;
    this._time = -1;
    this.counts = this._zeroes();
  }

  /** Be as it was at that moment. Cheap when time goes on; going back starts over. */
  moveTo(time) {
    if (this.isTooLarge) return;
    if (time < this._time) {
      this._cells.fill(NONE);
      this._applied = 0;
      this.counts = this._zeroes();
    }
    this._time = time;
    while (this._applied < this._events.length && this._events[this._applied].at <= time) {
      this._apply(this._events[this._applied]);
      this._applied += 1;
    }
  }

  _zeroes() {
    return [this.segments * this.shares, 0, 0, 0, 0, 0];
  }

  _apply(event) {
    const code = CODES[event.state];
    const base = event.share * this.segments;
    for (let place = base + event.first; place < base + Math.min(event.stop, this.segments); place += 1) {
      this.counts[this._cells[place]] -= 1;
      this._cells[place] = code;
      this.counts[code] += 1;
    }
  }

  /** The state of one block. */
  at(share, segment) {
    return this._cells[share * this.segments + segment] ?? NONE;
  }

  /** The most telling state among blocks `[first, stop)` of a share. */
  most(share, first, stop) {
    if (stop === first + 1) return this.at(share, first);
    let seen = 0;
    const base = share * this.segments;
    for (let place = base + first; place < base + stop; place += 1) seen |= 1 << this._cells[place];
    return TELLING.find((code) => seen & (1 << code)) ?? NONE;
  }

  /** When a block came into the state it is in; null when it never left the first. */
  since(share, segment) {
    for (let index = this._applied - 1; index >= 0; index -= 1) {
      const event = this._events[index];
      if (event.share === share && event.first <= segment && segment < event.stop) return event.at;
    }
    return null;
  }
}
