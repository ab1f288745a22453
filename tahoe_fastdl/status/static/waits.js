/** For whom the reader waited, and how long.
 *
 * Pure. Between two deliveries something was missing. Whose answer came last kept the others
 * waiting, from the moment the answers of all others were there: that time is charged to its
 * server. When the last answer was to a read sent in place of another's, the other is charged:
 * it was late, or failed. Time in which the reader had paused is charged to nobody.
 *
 * Laws: what one server is charged with never overlaps itself, so it is at most the download's time.
 */

const ROUNDING_S = 2e-6; // the document's times are whole microseconds

/** Times in which each server alone was waited for.
 *
 * @return an array, a server each, of disjoint `[from, to]`, in order.
 */
export function waitsFor(model) {
  const found = model.servers.map(() => []);
  const answered = model.reads
    .filter((read) => read.state === "done" && !read.wasted && read.done !== null)
    .sort((a, b) => a.done - b.done);
  const failing = model.reads.filter((read) => read.late || read.state === "failed" || read.state === "abandoned");
  for (const gap of gapsOf(model)) {
    for (const [server, from, to] of charge(gap, model, answered, failing)) {
      if (to > from) found[server].push(...without(from, to, gap.pauses));
    }
  }
  return found.map(union);
}

/** The length of disjoint spans of time. */
export function lengthOf(spans) {
  return spans.reduce((sum, [from, to]) => sum + to - from, 0);
}

/** When readers had paused, as disjoint spans. */
export function pausesOf(model, reader = null) {
  const own = model.pauses.filter((pause) => reader === null || pause.reader === reader);
  return union(own.map((pause) => [pause.from, pause.to ?? model.end]));
}

/** The same moments as disjoint spans, in order. */
export function union(spans) {
  const found = [];
  for (const [from, to] of [...spans].sort((a, b) => a[0] - b[0])) {
    const last = found[found.length - 1];
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else if (to > from) found.push([from, to]);
  }
  return found;
}

function without(from, to, spans) {
  const found = [];
  let at = from;
  for (const [start, stop] of spans) {
    if (stop <= at) continue;
    if (start >= to) break;
    if (start > at) found.push([at, start]);
    at = Math.max(at, stop);
  }
  if (at < to) found.push([at, to]);
  return found;
}

// ---------------------------------------------------------------- the gaps

/** From one delivery of a reader to the next, with the segments that the next one brought. */
function gapsOf(model) {
  const gaps = [];
  const size = model.summary.segment_size;
  const segmentOf = (position) => (size ? Math.floor(position / size) : 0);
  const segmentAfter = (position) => (size ? Math.ceil(position / size) : Infinity);
  const byReader = new Map();
  for (const delivery of [...model.deliveries].sort((a, b) => a.at - b.at)) {
    if (!byReader.has(delivery.reader)) byReader.set(delivery.reader, []);
    byReader.get(delivery.reader).push(delivery);
  }
  for (const [reader, deliveries] of byReader) {
    const pauses = pausesOf(model, reader);
    let from = firstSent(model, deliveries[0].at);
    for (const { at, start, stop } of deliveries) {
      gaps.push({ from, to: at, first: segmentOf(start), stop: segmentAfter(stop), pauses, isOpen: false });
      from = at;
    }
  }
  const tail = tailOf(model, gaps, segmentOf, pausesOf(model));
  return tail ? [...gaps, tail] : gaps;
}

function firstSent(model, before) {
  let first = before;
  for (const read of model.reads) first = Math.min(first, read.sent);
  return first;
}

/** What goes on since the last delivery: of a download that runs, or that never came further. */
function tailOf(model, gaps, segmentOf, pauses) {
  if (model.summary.state === "done" || model.summary.state === "stopped") return null;
  const last = model.deliveries.reduce((best, each) => (each.at >= (best?.at ?? 0) ? each : best), null);
  const from = last ? last.at : firstSent(model, model.end);
  const first = last ? segmentOf(last.stop) : segmentOf(lowestWanted(model));
  return { from, to: model.end, first, stop: first + 1, pauses, isOpen: true };
}

function lowestWanted(model) {
  const size = model.summary.segment_size ?? 0;
  let lowest = Infinity;
  for (const read of model.reads) if (read.first >= 0) lowest = Math.min(lowest, read.first);
  return lowest === Infinity ? 0 : lowest * size;
}

// ---------------------------------------------------------------- who is charged

function charge(gap, model, answered, failing) {
  const lastOf = new Map();
  for (let index = firstAfter(answered, gap.from); index < answered.length; index += 1) {
    const read = answered[index];
    if (read.done > gap.to + ROUNDING_S) break;
    if (brings(read, gap)) lastOf.set(read.server, read);
  }
  if (gap.isOpen) return chargeOpen(gap, model, lastOf);
  const [last, others] = lastTwo(lastOf);
  if (!last) return [];
  const from = Math.max(gap.from, others);
  const to = Math.min(last.done, gap.to);
  const guilty = inWhosePlace(last, failing);
  return (guilty.length ? guilty : [last.server]).map((server) => [server, from, to]);
}

/** What is still on its way for the next segment: its server, if it is one, or the late ones. */
function chargeOpen(gap, model, lastOf) {
  const open = model.reads.filter((read) => read.state === "open" && brings(read, gap) && read.sent <= gap.to);
  const late = new Set(open.filter((read) => read.late).map((read) => read.server));
  const all = new Set(open.map((read) => read.server));
  const charged = late.size ? late : all.size === 1 ? all : new Set();
  let others = gap.from;
  for (const [server, read] of lastOf) if (!charged.has(server)) others = Math.max(others, read.done);
  return [...charged].map((server) => {
    const sent = Math.min(...open.filter((read) => read.server === server).map((read) => read.sent));
    return [server, Math.max(others, sent), gap.to];
  });
}

function brings(read, gap) {
  if (read.first < 0) return true; // what describes the file is needed by all of it
  return read.first < gap.stop && gap.first < read.stop;
}

function lastTwo(lastOf) {
  let last = null;
  let others = 0;
  for (const read of lastOf.values()) {
    if (!last || read.done > last.done) {
      others = Math.max(others, last ? last.done : 0);
      last = read;
    } else {
      others = Math.max(others, read.done);
    }
  }
  return [last, others];
}

/** The servers whose reads this one had to make good: late, failed or given up before it was sent. */
function inWhosePlace(read, failing) {
  if (read.first < 0) return [];
  const guilty = new Set();
  for (const other of failing) {
    const overlaps = other.first < read.stop && read.first < other.stop;
    if (!overlaps || other.server === read.server || other.sent >= read.sent) continue;
    const wasMissing = other.done === null || other.done >= read.sent || other.state !== "done";
    if (wasMissing && (read.hedge || other.state === "failed" || other.stalled)) guilty.add(other.server);
  }
  return [...guilty];
}

/** The first of `reads` (by `done`) that was answered after `time`. */
function firstAfter(reads, time) {
  let low = 0;
  let high = reads.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (reads[middle].done > time) high = middle;
    else low = middle + 1;
  }
  return low;
}
