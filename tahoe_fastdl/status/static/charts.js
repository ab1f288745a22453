/** The three strips above the lanes: throughput, bytes in flight, recomputations.
 *
 * Draws from running totals; what happened between two samples is spread evenly between them.
 */

import { bytes, count, rate } from "./format.js";

const BIN_PIXELS = 4;
const LEAST_BIN_S = 0.02; // narrower ones would show single answers, as spikes

export const STRIPS = [
  { name: "Throughput", lines: "— received  - - delivered", draw: drawThroughput },
  { name: "In flight", lines: "▒ in flight  — held  - - limit", draw: drawFlight },
  { name: "Recomputations", lines: "█ recomputed  □ changes", draw: drawRecomputations },
];

/** A running total at a moment. */
export function totalAt(samples, column, time) {
  let low = 0;
  let high = samples.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (samples[middle].at <= time) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return 0;
  const before = samples[low - 1];
  const after = samples[low];
  if (!after || after.at === before.at) return before[column];
  const part = (time - before.at) / (after.at - before.at);
  return before[column] + part * (after[column] - before[column]);
}

/** What was added to a running total in each bin of what is shown, per second. */
export function perSecond(samples, column, scale, width) {
  const bins = Math.max(1, Math.min(Math.floor(width / BIN_PIXELS), Math.ceil(scale.span / LEAST_BIN_S)));
  const length = scale.span / bins;
  const values = new Float64Array(bins);
  let before = totalAt(samples, column, scale.from);
  for (let bin = 0; bin < bins; bin += 1) {
    const after = totalAt(samples, column, scale.from + (bin + 1) * length);
    values[bin] = Math.max(0, after - before) / length;
    before = after;
  }
  return values;
}

function highest(...lists) {
  let most = 0;
  for (const list of lists) for (const value of list) if (value > most) most = value;
  return most;
}

function steps(context, values, most, box, isFilled) {
  const wide = box.width / values.length;
  context.beginPath();
  context.moveTo(box.x, box.y + box.height);
  values.forEach((value, index) => {
    const y = box.y + box.height * (1 - value / most);
    context.lineTo(box.x + index * wide, y);
    context.lineTo(box.x + (index + 1) * wide, y);
  });
  context.lineTo(box.x + box.width, box.y + box.height);
  if (isFilled) context.fill();
  else context.stroke();
}

function drawThroughput(context, colours, model, scale, box) {
  const received = perSecond(model.samples, "received", scale, box.width);
  const delivered = perSecond(model.samples, "delivered", scale, box.width);
  const most = highest(received, delivered) || 1;
  context.strokeStyle = context.fillStyle = colours.done;
  context.lineWidth = 1.5;
  context.globalAlpha = 0.25;
  steps(context, received, most, box, true);
  context.globalAlpha = 1;
  steps(context, received, most, box, false);
  context.strokeStyle = colours.ok;
  context.setLineDash([5, 3]);
  steps(context, delivered, most, box, false);
  context.setLineDash([]);
  return `to ${rate(most)}`;
}

/** A value that stays until the next sample. */
function level(context, model, scale, box, column, most) {
  const yOf = (value) => box.y + box.height * (1 - Math.min(1, value / most));
  context.beginPath();
  let last = null;
  for (const sample of model.samples) {
    const x = box.x + scale.xOf(sample.at, box.width);
    if (last === null) context.moveTo(x, yOf(0));
    else context.lineTo(x, yOf(last));
    context.lineTo(x, yOf(sample[column]));
    last = sample[column];
  }
  if (last !== null && model.isRunning) context.lineTo(box.x + scale.xOf(model.end, box.width), yOf(last));
}

function drawFlight(context, colours, model, scale, box) {
  let most = 1;
  let limit = 0;
  for (const sample of model.samples) {
    most = Math.max(most, sample.inFlight, sample.held);
    limit = Math.max(limit, sample.limit);
  }
  // A limit that is far away would press all else flat.
  if (limit && limit <= 4 * most) most = Math.max(most, limit);
  context.fillStyle = colours.hedge;
  context.strokeStyle = colours.hedge;
  context.lineWidth = 1.5;
  context.globalAlpha = 0.35;
  level(context, model, scale, box, "inFlight", most);
  context.lineTo(box.x + Math.max(0, scale.xOf(model.end, box.width)), box.y + box.height);
  context.fill();
  context.globalAlpha = 1;
  level(context, model, scale, box, "held", most);
  context.stroke();
  if (limit && limit <= most) {
    context.strokeStyle = colours.fg;
    context.setLineDash([6, 4]);
    level(context, model, scale, box, "limit", most);
    context.stroke();
    context.setLineDash([]);
  }
  const asked = limit > most ? `, limit ${bytes(limit)}` : "";
  return `to ${bytes(most)}${asked}`;
}

function drawRecomputations(context, colours, model, scale, box) {
  const changes = perSecond(model.samples, "changes", scale, box.width);
  const recomputed = perSecond(model.samples, "recomputations", scale, box.width);
  const most = highest(changes, recomputed) || 1;
  context.lineWidth = 1;
  context.strokeStyle = colours.muted;
  steps(context, changes, most, box, false);
  context.fillStyle = colours.work;
  steps(context, recomputed, most, box, true);
  return `to ${count(Math.round(most))}/s`;
}
