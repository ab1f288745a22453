/** Draws the lanes of a timeline into a context, and finds what lies under a point.
 *
 * A layout is a list of lanes from top to bottom, each with its place: `y` and `height` in
 * pixels from the top of all lanes.
 */

import { serverName } from "./format.js";
import { serverLanes, workLanes } from "./lanes.js";
import { readState } from "./model.js";
import { LOOKS, bar, fitText } from "./paint.js";

const GAP = 6;
const MARKS = 10; // above a server's reads: its questions for shares
const ROOMY_ROW = 14;
const TIGHT_ROW = 7;
const NEAR_PIXELS = 3;

/** Where each lane goes. */
export function layOut(model, names) {
  const lanes = [
    deliveryLane(model),
    ...serverLanes(model).map((lane) => serverLane(lane, model, names)),
    ...workLanes(model).map(workLane),
  ];
  let y = GAP;
  for (const lane of lanes) {
    lane.y = y;
    y += lane.height + GAP;
  }
  return { lanes, height: y };
}

function serverLane(lane, model, names) {
  const row = lane.rows > 4 ? TIGHT_ROW : ROOMY_ROW;
  const name = names?.[lane.server] ?? serverName(model.servers[lane.server]);
  return { ...lane, kind: "server", name, row, height: MARKS + lane.rows * row };
}

function workLane(lane) {
  return { ...lane, kind: "work", name: lane.what, row: TIGHT_ROW + 2, height: lane.rows * (TIGHT_ROW + 2) + 4 };
}

function deliveryLane(model) {
  const pauses = model.pauses.map((pause) => ({ from: pause.from, to: pause.to ?? model.end }));
  return { kind: "delivery", name: "delivered, paused", pauses, row: ROOMY_ROW, height: 2 * ROOMY_ROW };
}

// ---------------------------------------------------------------- drawing

/** Draw what is in sight of the plot `[x, x + width)`; returns how many reads that were. */
export function drawLane(context, colours, lane, model, scale, plot, marks) {
  const y = plot.y + lane.y;
  const inner = { ...plot, y };
  if (lane.kind === "delivery") return drawDelivery(context, colours, lane, model, scale, inner);
  if (lane.kind === "work") return drawWork(context, colours, lane, model, scale, inner);
  drawWaits(context, colours, lane, scale, inner, marks);
  drawDyhb(context, colours, lane, model, scale, inner);
  return drawReads(context, colours, lane, model, scale, inner, marks);
}

/** The lane's name, left of the plot. */
export function drawName(context, colours, lane, plot, gutter, isNamed) {
  context.font = `${isNamed ? "bold " : ""}12px system-ui, sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillStyle = isNamed ? colours.late : colours.fg;
  const text = isNamed ? `▶ ${lane.name}` : lane.name;
  const y = plot.y + lane.y + Math.min(lane.height / 2, 20);
  context.fillText(fitText(context, text, gutter - 8), 4, y);
}

/** The times in which this server alone was waited for: a band behind its reads. */
function drawWaits(context, colours, lane, scale, plot, marks) {
  context.fillStyle = colours.late;
  context.globalAlpha = 0.18;
  for (const [from, to] of marks.waits[lane.server] ?? []) {
    if (to < scale.from || from > scale.to) continue;
    const x = plot.x + scale.xOf(from, plot.width);
    context.fillRect(x, plot.y, Math.max(1, scale.xOf(to, plot.width) - scale.xOf(from, plot.width)), lane.height);
  }
  context.globalAlpha = 1;
}

function drawDyhb(context, colours, lane, model, scale, plot) {
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = "10px system-ui, sans-serif";
  context.fillStyle = context.strokeStyle = colours.muted;
  context.lineWidth = 1;
  const y = plot.y + MARKS / 2;
  for (const each of lane.dyhb) {
    const answered = each.answered ?? model.end;
    if (answered < scale.from || each.sent > scale.to) continue;
    const [from, to] = [each.sent, answered].map((time) => plot.x + scale.xOf(time, plot.width));
    context.beginPath();
    context.moveTo(from, y);
    context.lineTo(to, y);
    context.stroke();
    context.fillText("◇", from, y);
    if (each.state === "ok") context.fillText("◆", to, y);
    if (each.state === "error") context.fillText("✕", to, y);
  }
}

function drawReads(context, colours, lane, model, scale, plot, marks) {
  let drawn = 0;
  for (let index = 0; index < lane.reads.length; index += 1) {
    const read = lane.reads[index];
    const end = read.done ?? model.end;
    if (end < scale.from || read.sent > scale.to) continue;
    const box = boxOf(lane, index, read, end, scale, plot);
    bar(context, colours, LOOKS[readState(read)], box.x, box.y, box.width, box.height);
    if (marks.selected === read.index) {
      context.strokeStyle = colours.focus;
      context.lineWidth = 2;
      context.strokeRect(box.x - 2, box.y - 1, box.width + 4, box.height + 2);
    }
    drawn += 1;
  }
  return drawn;
}

function boxOf(lane, index, read, end, scale, plot) {
  const x = plot.x + scale.xOf(read.sent, plot.width);
  const full = lane.row - 2;
  const height = read.kind === "blocks" ? full : Math.max(3, full / 2);
  const top = plot.y + MARKS + lane.rowOf[index] * lane.row + (full - height);
  // Clipped to the plot: canvases round places that are far outside.
  const left = Math.max(x, plot.x - 2); // so that its sign stays in sight
  const right = Math.min(plot.x + scale.xOf(end, plot.width), plot.x + plot.width + 10);
  return { x: left, y: top, width: Math.max(1.5, right - left - 0.5), height };
}

function drawWork(context, colours, lane, model, scale, plot) {
  context.fillStyle = colours.work;
  lane.spans.forEach((each, index) => {
    const end = each.ended ?? model.end;
    if (end < scale.from || each.began > scale.to) return;
    const x = plot.x + Math.max(-10, scale.xOf(each.began, plot.width));
    const right = plot.x + Math.min(plot.width + 10, scale.xOf(end, plot.width));
    context.fillRect(x, plot.y + lane.rowOf[index] * lane.row, Math.max(1, right - x - 0.5), lane.row - 2);
  });
  return 0;
}

function drawDelivery(context, colours, lane, model, scale, plot) {
  context.fillStyle = colours.ok;
  for (const each of model.deliveries) {
    if (each.at < scale.from || each.at > scale.to) continue;
    context.fillRect(plot.x + scale.xOf(each.at, plot.width) - 1, plot.y, 2, ROOMY_ROW - 2);
  }
  for (const pause of lane.pauses) {
    if (pause.to < scale.from || pause.from > scale.to) continue;
    const x = plot.x + Math.max(-10, scale.xOf(pause.from, plot.width));
    const right = plot.x + Math.min(plot.width + 10, scale.xOf(pause.to, plot.width));
    const look = { colour: "muted", filling: "stripes", sign: "‖" };
    bar(context, colours, look, x, plot.y + ROOMY_ROW, right - x, ROOMY_ROW - 2);
  }
  return 0;
}

// ---------------------------------------------------------------- what is under a point

/** The read under a point, or null.
 *
 * @param y from the top of all lanes.
 */
export function readAt(layout, model, scale, width, x, y) {
  const lane = laneAt(layout, y);
  if (lane?.kind !== "server") return null;
  const row = Math.floor((y - lane.y - MARKS) / lane.row);
  let best = null;
  let least = NEAR_PIXELS;
  lane.reads.forEach((read, index) => {
    if (lane.rowOf[index] !== row) return;
    const from = scale.xOf(read.sent, width);
    const to = Math.max(from + 1.5, scale.xOf(read.done ?? model.end, width));
    const distance = x < from ? from - x : x > to ? x - to : 0;
    if (distance < least || (distance === 0 && least === 0)) [best, least] = [read, distance];
  });
  return best;
}

/** The lane at this height, or null between two. */
export function laneAt(layout, y) {
  return layout.lanes.find((lane) => lane.y <= y && y < lane.y + lane.height) ?? null;
}

/** The lane of a server, or null. */
export function laneOf(layout, server) {
  return layout.lanes.find((lane) => lane.kind === "server" && lane.server === server) ?? null;
}
