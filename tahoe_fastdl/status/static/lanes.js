/** Who is drawn in which row: reads that overlap in time lie below one another. Pure. */

const MOST_ROWS = 12; // more at once overlap in the last of them; the lane would not end

/** Rows for a list of spans of time.
 *
 * @param spans `{from, to}` in any order, `to` null while it goes on.
 * @return `{rowOf, rows}`: the row of each span, and how many there are (at least 1).
 */
export function pack(spans) {
  const order = spans.map((_, index) => index).sort((a, b) => spans[a].from - spans[b].from);
  const rowOf = new Int32Array(spans.length);
  const ends = [];
  for (const index of order) {
    const { from, to } = spans[index];
    let row = ends.findIndex((end) => end <= from);
    if (row < 0 && ends.length < MOST_ROWS) row = ends.push(0) - 1;
    if (row < 0) row = ends.indexOf(Math.min(...ends));
    ends[row] = to ?? Infinity;
    rowOf[index] = row;
  }
  return { rowOf, rows: Math.max(1, ends.length) };
}

/** A lane for each server: its reads, their rows, and its questions for shares.
 *
 * Servers that were never asked for anything have none.
 */
export function serverLanes(model) {
  const lanes = model.servers.map((_, server) => ({ server, reads: [], dyhb: [] }));
  for (const read of model.reads) lanes[read.server].reads.push(read);
  for (const each of model.dyhb) lanes[each.server].dyhb.push(each);
  return lanes
    .filter((lane) => lane.reads.length || lane.dyhb.length)
    .map((lane) => ({
      ...lane,
      ...pack(lane.reads.map((read) => ({ from: read.sent, to: read.done }))),
    }));
}

/** A lane for each kind of work in the workers, and one for what readers got. */
export function workLanes(model) {
  return ["decode", "verify", "decrypt"]
    .map((what) => ({ what, spans: model.work.filter((each) => each.what === what) }))
    .filter((lane) => lane.spans.length)
    .map((lane) => ({
      ...lane,
      ...pack(lane.spans.map((each) => ({ from: each.began, to: each.ended }))),
    }));
}
