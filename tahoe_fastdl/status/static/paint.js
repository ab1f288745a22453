/** Colours, hatchings and signs: how each state looks on a canvas.
 *
 * No state is told by colour alone: each has a filling, an outline or a sign of its own, so
 * that it is known in grey, too. The legend draws with the same functions.
 */

import { el } from "./dom.js";

const COLOUR_NAMES = [
  "bg", "fg", "muted", "line", "panel", "done", "hedge", "late", "failed", "wasted", "ok", "work", "focus",
];

// filling: solid, stripes, dots, none; dash: of the outline; sign: drawn where there is room.
export const LOOKS = {
  done: { colour: "done", filling: "solid", sign: "", words: "in time" },
  hedge: { colour: "hedge", filling: "stripes", sign: "H", words: "hedge: sent in place of a late one" },
  late: { colour: "late", filling: "solid", outline: 2, sign: "!", words: "late" },
  stalled: { colour: "late", filling: "none", outline: 3, sign: "‼", words: "stalled" },
  failed: { colour: "failed", filling: "none", outline: 2, sign: "✕", words: "failed" },
  wasted: { colour: "wasted", filling: "dots", sign: "∅", words: "wasted: helped nobody" },
  abandoned: { colour: "wasted", filling: "none", dash: [3, 2], sign: "–", words: "abandoned" },
  open: { colour: "done", filling: "none", dash: [5, 3], sign: "…", words: "no answer yet" },
};

const SIGN_PIXELS = 14; // a bar that is at least so wide has its sign in it

/** The page's colours as the style sheet gives them now. */
export function readColours() {
  const style = getComputedStyle(document.documentElement);
  const colours = {};
  for (const name of COLOUR_NAMES) colours[name] = style.getPropertyValue(`--${name}`).trim() || "#888";
  colours.patterns = new Map();
  return colours;
}

/** Call `changed` when the reader turns to dark or to light. */
export function watchTheme(changed) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

function pattern(context, colours, colour, filling) {
  const key = `${colour} ${filling}`;
  if (!colours.patterns.has(key)) {
    const tile = el("canvas", { width: 6, height: 6 });
    const inner = tile.getContext("2d");
    inner.fillStyle = inner.strokeStyle = colours[colour];
    if (filling === "dots") inner.fillRect(1, 1, 2, 2);
    else {
      inner.lineWidth = 2;
      inner.beginPath();
      for (const shift of [-6, 0, 6]) {
        inner.moveTo(shift, 6);
        inner.lineTo(shift + 6, 0);
      }
      inner.stroke();
    }
    colours.patterns.set(key, context.createPattern(tile, "repeat"));
  }
  return colours.patterns.get(key);
}

/** One bar. Thin ones are a mark of the same colour. */
export function bar(context, colours, look, x, y, width, height) {
  const wide = Math.max(width, 1.5);
  context.fillStyle = look.filling === "solid" || wide < 4
    ? colours[look.colour]
    : look.filling === "none" ? colours.bg : pattern(context, colours, look.colour, look.filling);
  context.fillRect(x, y, wide, height);
  if (wide < 4) return;
  if (look.filling !== "solid" || look.outline) outline(context, colours, look, x, y, wide, height);
  if (look.sign && wide >= SIGN_PIXELS && height >= 8) sign(context, colours, look, x, y, wide, height);
}

function outline(context, colours, look, x, y, width, height) {
  const line = look.outline ?? 1;
  context.strokeStyle = look.filling === "solid" ? colours.fg : colours[look.colour];
  context.lineWidth = Math.min(line, 2);
  context.setLineDash(look.dash ?? []);
  context.strokeRect(x + 0.5, y + 0.5, Math.max(1, width - 1), Math.max(1, height - 1));
  if (line >= 3 && height >= 9) context.strokeRect(x + 3, y + 3, Math.max(1, width - 6), height - 6);
  context.setLineDash([]);
}

function sign(context, colours, look, x, y, width, height) {
  context.font = `bold ${Math.min(12, height)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const middle = Math.max(x, 0) + Math.min(width, 18) / 2;
  if (look.filling === "stripes" || look.filling === "dots") {
    context.fillStyle = colours.bg;
    context.fillRect(middle - 5, y + 1, 10, height - 2);
  }
  context.fillStyle = look.filling === "solid" ? colours.bg : colours.fg;
  context.fillText(look.sign, middle, y + height / 2 + 0.5);
}

/** A canvas as sharp as the screen; gives its context, in CSS pixels. */
export function fitCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** As much of a text as fits, with … for the rest. */
export function fitText(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}

/** The legend: each look with its words. `redraw()` follows the theme. */
export function legend() {
  const drawings = [];
  const items = Object.entries(LOOKS).map(([name, look]) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    drawings.push([canvas, look]);
    return el("li", { "data-look": name }, canvas, ` ${look.words}`);
  });
  const extra = el("li", {}, "◇ asked “do you have blocks?”, ◆ answered, ✕ refused; low bars: headers and hashes");
  const node = el("ul", { class: "legend", "aria-label": "Legend" }, ...items, extra);
  const redraw = (colours) => {
    for (const [canvas, look] of drawings) {
      const context = fitCanvas(canvas, 30, 14);
      context.clearRect(0, 0, 30, 14);
      bar(context, colours, look, 1, 1, 28, 12);
    }
  };
  return { node, redraw };
}
