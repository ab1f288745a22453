/** The interactive timeline: strips, lanes, zoom, pan, tooltips.
 *
 * One canvas that is as large as what is seen of it: lanes beyond scroll under it, so that
 * hundreds of servers cost no more than ten. It draws at most once a frame.
 */

import { STRIPS } from "./charts.js";
import { el, setText, show } from "./dom.js";
import { seconds } from "./format.js";
import { drawLane, drawName, laneAt, laneOf, layOut, readAt } from "./lanedraw.js";
import { fitCanvas, fitText, readColours } from "./paint.js";
import { tickText } from "./scale.js";
import { readFate, readText, timeOf } from "./verdict.js";

const AXIS = 22;
const STRIP = 54;
const STRIPS_HEIGHT = STRIPS.length * STRIP;
const TOP = AXIS + STRIPS_HEIGHT;
const RIGHT = 10;
const MOST_HEIGHT = 760;
const WHEEL_STEP = 1.0015; // a notch of 100 zooms by 16 %
const KEY_STEP = 1.5;
const CLICK_PIXELS = 4;

const HELP =
  "Timeline of all reads. Plus and minus zoom, left and right arrows move, Home shows everything, " +
  "up and down arrows go from read to read, Enter zooms to one. The slowest reads are in a table below.";

export class Timeline {
  /**
   * @param scale a TimeScale, maybe shared with another timeline.
   * @param onCursor called with the moment under the pointer, or null when it left.
   * @param onPin called with the moment that was clicked.
   */
  constructor(scale, { onCursor, onPin }) {
    this._scale = scale;
    this._onCursor = onCursor;
    this._onPin = onPin;
    this._model = null;
    this._cursor = null;
    this._frame = null;
    this._pointers = new Map();
    this._moved = 0;
    this._marks = { waits: [], selected: null, named: null };
    this._colours = readColours();
    this._canvas = el("canvas", { class: "timeline", tabindex: 0, role: "img", "aria-label": HELP });
    this._spacer = el("div", { class: "spacer" }, this._canvas);
    this._scroller = el("div", { class: "lanes" }, this._spacer);
    this._tip = el("div", { class: "tip", hidden: true });
    this._said = el("p", { class: "unseen", "aria-live": "polite" });
    this.node = el("div", { class: "timeline-box" }, this._scroller, this._tip, this._said);
    this._stopWatching = scale.watch(() => this.redraw());
    this._listen();
  }

  /** Show this model. `named` is the server that the verdict names, or null. */
  setModel(model, { facts, named }) {
    this._model = model;
    this._layout = layOut(model, facts.map((fact) => fact.name));
    this._marks.waits = facts.map((fact) => fact.waits);
    this._marks.named = named;
    this._byTime = null;
    this._resize();
  }

  /** The moment that others look at: a line. */
  setCursor(time) {
    this._cursor = time;
    this.redraw();
  }

  onTheme() {
    this._colours = readColours();
    this.redraw();
  }

  /** Zoom to a read, and show what is known of it. */
  select(read) {
    const margin = Math.max(timeOf(read, this._model.end), 1e-3);
    this._scale.show(read.sent - margin, (read.done ?? this._model.end) + margin);
    this._mark(read);
  }

  redraw() {
    this._frame ??= requestAnimationFrame(() => {
      this._frame = null;
      if (this._model && this.node.isConnected) this._draw();
    });
  }

  destroy() {
    this._stopWatching();
    this._observer.disconnect();
    if (this._frame !== null) cancelAnimationFrame(this._frame);
  }

  // -- layout -----------------------------------------------------------------

  get _gutter() {
    return this._width < 560 ? 84 : 150;
  }

  get _plotWidth() {
    return Math.max(40, this._width - this._gutter - RIGHT);
  }

  _resize() {
    if (!this._model) return;
    this._width = Math.max(200, this._scroller.clientWidth);
    this._height = Math.min(MOST_HEIGHT, TOP + this._layout.height);
    this._scroller.style.height = `${this._height + 2}px`; // and its border
    this._spacer.style.height = `${TOP + this._layout.height}px`;
    this.redraw();
  }

  // -- drawing ----------------------------------------------------------------

  _draw() {
    const began = performance.now();
    const context = fitCanvas(this._canvas, this._width, this._height);
    context.fillStyle = this._colours.bg;
    context.fillRect(0, 0, this._width, this._height);
    const drawn = this._drawLanes(context);
    this._drawStrips(context);
    this._drawAxis(context);
    this._drawCursor(context);
    // For tests, and for whoever wonders.
    const facts = { from: this._scale.from, to: this._scale.to, bars: drawn, drawMs: performance.now() - began };
    for (const [name, value] of Object.entries(facts)) this._canvas.dataset[name] = String(value);
  }

  _drawLanes(context) {
    const plot = { x: this._gutter, y: TOP - this._scroller.scrollTop, width: this._plotWidth };
    let drawn = 0;
    const inSight = this._layout.lanes.filter(
      (lane) => plot.y + lane.y + lane.height > TOP && plot.y + lane.y < this._height,
    );
    context.save();
    context.beginPath();
    context.rect(0, TOP, this._width, this._height - TOP);
    context.clip();
    for (const lane of inSight) {
      const isNamed = lane.kind === "server" && lane.server === this._marks.named;
      drawName(context, this._colours, lane, plot, this._gutter, isNamed);
      line(context, this._colours.line, 0, plot.y + lane.y + lane.height + 3, this._width);
    }
    context.beginPath();
    context.rect(plot.x, TOP, plot.width, this._height - TOP);
    context.clip();
    for (const lane of inSight) {
      drawn += drawLane(context, this._colours, lane, this._model, this._scale, plot, this._marks);
    }
    context.restore();
    return drawn;
  }

  _drawStrips(context) {
    STRIPS.forEach((strip, index) => {
      const top = AXIS + index * STRIP;
      const box = { x: this._gutter, y: top + 4, width: this._plotWidth, height: STRIP - 10 };
      context.save();
      context.beginPath();
      context.rect(box.x, top, box.width, STRIP);
      context.clip();
      const most = strip.draw(context, this._colours, this._model, this._scale, box);
      context.restore();
      line(context, this._colours.line, 0, top + STRIP - 3, this._width);
      context.textAlign = "left";
      context.textBaseline = "top";
      context.fillStyle = this._colours.fg;
      context.font = "12px system-ui, sans-serif";
      context.fillText(fitText(context, strip.name, this._gutter - 8), 4, top + 4);
      context.fillStyle = this._colours.muted;
      context.font = "10px system-ui, sans-serif";
      context.fillText(fitText(context, most, this._gutter - 8), 4, top + 19);
      context.fillText(fitText(context, strip.lines, this._gutter - 8), 4, top + 32);
    });
  }

  _drawAxis(context) {
    const { step, times } = this._scale.ticks(this._plotWidth);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "center";
    for (const time of times) {
      const x = this._gutter + this._scale.xOf(time, this._plotWidth);
      context.fillStyle = this._colours.line;
      context.fillRect(x, AXIS - 4, 1, this._height);
      context.fillStyle = this._colours.muted;
      context.fillText(tickText(time, step), Math.min(x, this._width - 22), AXIS / 2);
    }
  }

  _drawCursor(context) {
    if (this._cursor === null) return;
    const x = this._gutter + this._scale.xOf(this._cursor, this._plotWidth);
    if (x < this._gutter || x > this._width) return;
    context.fillStyle = this._colours.focus;
    context.fillRect(x, AXIS - 4, 1, this._height);
  }

  // -- pointer ----------------------------------------------------------------

  _listen() {
    const canvas = this._canvas;
    canvas.addEventListener("wheel", (event) => this._onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this._onDown(event));
    canvas.addEventListener("pointermove", (event) => this._onMove(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this._onUp(event));
    canvas.addEventListener("pointerleave", () => this._onLeave());
    canvas.addEventListener("keydown", (event) => this._onKey(event));
    canvas.addEventListener("blur", () => show(this._tip, false));
    this._scroller.addEventListener("scroll", () => this.redraw());
    this._observer = new ResizeObserver(() => this._resize());
    this._observer.observe(this._scroller);
  }

  _place(event) {
    const box = this._canvas.getBoundingClientRect();
    return { x: event.clientX - box.left - this._gutter, y: event.clientY - box.top };
  }

  _timeAt(x) {
    const time = this._scale.timeOf(x, this._plotWidth);
    return Math.min(Math.max(time, this._scale.from), this._scale.to);
  }

  _onWheel(event) {
    if (!this._model) return;
    const pixels = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this._scale.pan(((event.deltaX || event.deltaY) * pixels) / this._plotWidth);
      return;
    }
    // At the outermost, the page scrolls on: nobody is caught in the timeline.
    if (event.deltaY > 0 && this._scale.isWhole) return;
    event.preventDefault();
    const strength = event.ctrlKey ? 8 : 1; // browsers tell of a trackpad's pinch so, in small numbers
    this._scale.zoomAt(this._timeAt(this._place(event).x), WHEEL_STEP ** (event.deltaY * pixels * strength));
  }

  _onDown(event) {
    if (event.button !== 0) return;
    this._canvas.setPointerCapture(event.pointerId);
    this._pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this._moved = this._pointers.size > 1 ? Infinity : 0;
  }

  _onMove(event) {
    if (!this._model) return;
    const before = this._pointers.get(event.pointerId);
    if (!before) {
      this._hover(event);
      return;
    }
    const now = { x: event.clientX, y: event.clientY };
    if (this._pointers.size === 2) this._pinch(event.pointerId, before, now);
    else if (this._pointers.size === 1) {
      this._moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      this._scale.pan((before.x - now.x) / this._plotWidth);
      if (event.pointerType === "mouse") this._scroller.scrollTop += before.y - now.y;
    }
    this._pointers.set(event.pointerId, now);
  }

  _pinch(id, before, now) {
    const [other] = [...this._pointers].filter(([key]) => key !== id).map(([, place]) => place);
    const left = this._canvas.getBoundingClientRect().left + this._gutter;
    const [was, is] = [Math.abs(before.x - other.x), Math.abs(now.x - other.x)];
    if (was > 10 && is > 10) this._scale.zoomAt(this._timeAt((now.x + other.x) / 2 - left), was / is);
  }

  _onUp(event) {
    const wasDown = this._pointers.delete(event.pointerId);
    if (!wasDown || !this._model || event.type === "pointercancel" || this._moved > CLICK_PIXELS) return;
    const place = this._place(event);
    const read = this._readAt(place);
    if (read) this._mark(read);
    if (place.x >= 0) this._onPin(this._timeAt(place.x));
  }

  _onLeave() {
    // A read that was chosen goes on being told of.
    if (this._selected) this._tellOf(this._selected);
    else show(this._tip, false);
    this._onCursor(null);
  }

  _readAt(place) {
    if (place.y < TOP) return null;
    const y = place.y - TOP + this._scroller.scrollTop;
    return readAt(this._layout, this._model, this._scale, this._plotWidth, place.x, y);
  }

  _hover(event) {
    const place = this._place(event);
    if (place.x < 0 || place.x > this._plotWidth) {
      this._onCursor(null);
      const lane = place.y < TOP ? null : laneAt(this._layout, place.y - TOP + this._scroller.scrollTop);
      this._tell(lane ? [lane.name] : null, place);
      return;
    }
    this._onCursor(this._timeAt(place.x));
    const read = this._readAt(place);
    this._tell(read ? this._describe(read) : null, place);
  }

  // -- keyboard ---------------------------------------------------------------

  _onKey(event) {
    if (!this._model || event.ctrlKey || event.metaKey || event.altKey) return;
    const { from, to, end } = this._scale;
    const isChosen = this._cursor !== null && this._cursor >= from && this._cursor <= to && this._cursor < end;
    const middle = isChosen ? this._cursor : (from + to) / 2;
    const part = event.shiftKey ? 0.5 : 0.1;
    const actions = {
      "+": () => this._scale.zoomAt(middle, 1 / KEY_STEP),
      "=": () => this._scale.zoomAt(middle, 1 / KEY_STEP),
      "-": () => this._scale.zoomAt(middle, KEY_STEP),
      ArrowLeft: () => this._scale.pan(-part),
      ArrowRight: () => this._scale.pan(part),
      Home: () => this._scale.showAll(),
      End: () => this._scale.show(this._scale.end - this._scale.span, this._scale.end),
      ArrowDown: () => this._step(1),
      ArrowUp: () => this._step(-1),
      Enter: () => this._selected && this.select(this._selected),
      Escape: () => this._mark(null),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  get _selected() {
    return this._marks.selected === null ? null : this._model?.reads[this._marks.selected] ?? null;
  }

  _step(by) {
    this._byTime ??= [...this._model.reads].sort((a, b) => a.sent - b.sent);
    if (!this._byTime.length) return;
    const place = this._byTime.findIndex((read) => read.index === this._marks.selected);
    const first = this._byTime.findIndex((read) => (read.done ?? this._model.end) >= this._scale.from);
    const next = place < 0 ? Math.max(0, first) : Math.min(Math.max(place + by, 0), this._byTime.length - 1);
    const read = this._byTime[next];
    if (read.sent < this._scale.from || read.sent > this._scale.to) {
      this._scale.show(read.sent - this._scale.span / 2, read.sent + this._scale.span / 2);
    }
    this._mark(read);
  }

  // -- what is said of a read ---------------------------------------------------

  _mark(read) {
    this._marks.selected = read ? read.index : null;
    this.redraw();
    if (!read) {
      show(this._tip, false);
      return;
    }
    const lane = laneOf(this._layout, read.server);
    const y = TOP + lane.y - this._scroller.scrollTop;
    if (y < TOP || y + lane.height > this._height) this._scroller.scrollTop = Math.max(0, lane.y - 40);
    setText(this._said, this._describe(read).join(". "));
    this._tellOf(read);
  }

  _tellOf(read) {
    const lane = laneOf(this._layout, read.server);
    const x = this._scale.xOf(Math.max(read.sent, this._scale.from), this._plotWidth);
    this._tell(this._describe(read), { x, y: TOP + lane.y - this._scroller.scrollTop + 20 });
  }

  _describe(read) {
    const name = laneOf(this._layout, read.server)?.name ?? "";
    const took = seconds(timeOf(read, this._model.end));
    const end = read.done === null ? `${took} so far` : `answered at ${seconds(read.done)}, after ${took}`;
    return [name, readText(read, this._model), `sent at ${seconds(read.sent)}`, end, readFate(read)];
  }

  _tell(lines, place) {
    show(this._tip, lines !== null);
    if (lines === null) return;
    this._tip.replaceChildren(...lines.map((text) => el("div", {}, text)));
    const left = Math.min(this._gutter + place.x + 14, this._width - this._tip.offsetWidth - 4);
    this._tip.style.left = `${Math.max(0, left)}px`;
    this._tip.style.top = `${Math.max(0, Math.min(place.y + 16, this._height - 20))}px`;
  }
}

function line(context, colour, x, y, width) {
  context.fillStyle = colour;
  context.fillRect(x, Math.round(y), width, 1);
}
