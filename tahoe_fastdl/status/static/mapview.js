/** The map of segments and shares, as it was at one moment.
 *
 * A state is told by how high its cell is filled, and by a cross, besides the colour.
 */

import { BAD, BlockMap, GONE, HAVE, PENDING, STATE_NAMES, WANTED } from "./blockmap.js";
import { el, setText, show } from "./dom.js";
import { count, seconds } from "./format.js";
import { fitCanvas, readColours } from "./paint.js";

const GUTTER = 46;
const LEAST_CELL = 3;
const MOST_CELL = 16;
const LABEL_PIXELS = 9;

export class MapView {
  constructor() {
    this._map = null;
    this._time = 0;
    this._frame = null;
    this._colours = readColours();
    this._canvas = el("canvas", { class: "map", role: "img" });
    this._words = el("p", { class: "map-words" });
    this._tip = el("div", { class: "tip", hidden: true });
    this._box = el("div", { class: "map-box" }, this._canvas, this._tip);
    this._legend = el(
      "p",
      { class: "small" },
      "A row a share, a column a segment, from left to right through the file. Low bar: wanted; half: pending, " +
        "that is asked for; full: here; crossed: bad; line: gone, asked of another share.",
    );
    this.node = el("div", {}, this._words, this._box, this._legend);
    this._canvas.addEventListener("pointermove", (event) => this._hover(event));
    this._canvas.addEventListener("pointerleave", () => show(this._tip, false));
    this._observer = new ResizeObserver(() => this.redraw());
    this._observer.observe(this._box);
  }

  setModel(model, names) {
    this._model = model;
    this._names = names;
    this._map = new BlockMap(model);
    this._order = model.shares.map((_, index) => index).sort((a, b) => model.shares[a].shnum - model.shares[b].shnum);
    this.setTime(this._time);
  }

  /** Show how it was at that moment. */
  setTime(time) {
    this._time = time;
    if (!this._map) return;
    this._map.moveTo(time);
    this._say();
    this.redraw();
  }

  onTheme() {
    this._colours = readColours();
    this.redraw();
  }

  redraw() {
    this._frame ??= requestAnimationFrame(() => {
      this._frame = null;
      if (this._map && this.node.isConnected) this._draw();
    });
  }

  destroy() {
    this._observer.disconnect();
    if (this._frame !== null) cancelAnimationFrame(this._frame);
  }

  _say() {
    const map = this._map;
    show(this._box, !map.isTooLarge && map.segments > 0 && map.shares > 0);
    if (map.isTooLarge) {
      setText(this._words, "This file has too many segments for a map.");
      return;
    }
    const parts = [HAVE, PENDING, WANTED, BAD, GONE]
      .filter((code) => map.counts[code] || code === HAVE)
      .map((code) => `${STATE_NAMES[code]} ${count(map.counts[code])}`);
    setText(this._words, `At ${seconds(this._time)}: blocks ${parts.join(", ")}.`);
    this._canvas.setAttribute("aria-label", `Map of segments and shares. ${this._words.textContent}`);
    for (const code of [WANTED, PENDING, HAVE, BAD, GONE]) {
      this._canvas.dataset[STATE_NAMES[code]] = String(map.counts[code]);
    }
  }

  _draw() {
    const map = this._map;
    if (map.isTooLarge || !map.segments || !map.shares) return;
    const width = Math.max(160, this._box.clientWidth);
    const room = width - GUTTER - 2;
    this._columns = Math.min(map.segments, Math.max(1, Math.floor(room / LEAST_CELL)));
    this._wide = Math.min(MOST_CELL, room / this._columns);
    this._high = Math.min(MOST_CELL, Math.max(LEAST_CELL + 1, Math.floor(360 / map.shares)));
    const height = map.shares * this._high + 2;
    const context = fitCanvas(this._canvas, width, height);
    context.fillStyle = this._colours.bg;
    context.fillRect(0, 0, width, height);
    this._drawNames(context);
    this._order.forEach((share, row) => {
      for (let column = 0; column < this._columns; column += 1) {
        const [first, stop] = this._segmentsOf(column);
        this._cell(context, map.most(share, first, stop), GUTTER + column * this._wide, row * this._high + 1);
      }
    });
  }

  _segmentsOf(column) {
    const first = Math.floor((column * this._map.segments) / this._columns);
    return [first, Math.max(first + 1, Math.floor(((column + 1) * this._map.segments) / this._columns))];
  }

  _drawNames(context) {
    const every = Math.max(1, Math.ceil(LABEL_PIXELS / this._high));
    context.font = "10px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillStyle = this._colours.muted;
    this._order.forEach((share, row) => {
      if (row % every) return;
      context.fillText(`sh ${this._model.shares[share].shnum}`, GUTTER - 6, (row + 0.5) * this._high + 1);
    });
  }

  _cell(context, code, x, y) {
    const wide = Math.max(1, this._wide - (this._wide >= 5 ? 1 : 0));
    const high = this._high - 1;
    context.fillStyle = this._colours.panel;
    context.fillRect(x, y, wide, high);
    const parts = { [WANTED]: 0.25, [PENDING]: 0.5, [HAVE]: 1, [BAD]: 1 };
    const colours = { [WANTED]: "muted", [PENDING]: "hedge", [HAVE]: "done", [BAD]: "failed" };
    if (code === GONE) {
      context.fillStyle = this._colours.late;
      context.fillRect(x, y + high / 2, wide, 1);
    } else if (parts[code]) {
      const filled = Math.max(1, Math.round(high * parts[code]));
      context.fillStyle = this._colours[colours[code]];
      context.fillRect(x, y + high - filled, wide, filled);
    }
    if (code === BAD && wide >= 4) {
      context.strokeStyle = this._colours.bg;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + wide, y + high);
      context.moveTo(x + wide, y);
      context.lineTo(x, y + high);
      context.stroke();
    }
  }

  _hover(event) {
    if (!this._columns) return;
    const box = this._canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const column = Math.floor((x - GUTTER) / this._wide);
    const share = this._order[Math.floor((y - 1) / this._high)];
    const isInside = column >= 0 && column < this._columns && share !== undefined;
    show(this._tip, isInside);
    if (!isInside) return;
    const [segment] = this._segmentsOf(column);
    const since = this._map.since(share, segment);
    const state = STATE_NAMES[this._map.at(share, segment)] + (since === null ? "" : ` since ${seconds(since)}`);
    const { shnum, server } = this._model.shares[share];
    const lines = [`share ${shnum} on ${this._names[server]}`, `segment ${segment}: ${state}`];
    this._tip.replaceChildren(...lines.map((text) => el("div", {}, text)));
    this._tip.style.left = `${Math.max(0, Math.min(x + 12, box.width - this._tip.offsetWidth - 4))}px`;
    this._tip.style.top = `${y + 14}px`;
  }
}
