/** Tahoe's own record of a download, made into a document of ours.
 *
 * Pure. Source: `_EventJson` in allmydata/web/status.py and `DownloadStatus` in
 * allmydata/immutable/downloader/status.py of Tahoe-LAFS 1.20. What Tahoe does not note is
 * worked out, or left out: it notes no block size, so the longest reads of a segment count as
 * its blocks; no budget, so there is no limit; no lateness.
 */

const MOST_EVENTS = 200_000;
const MOST_SAMPLES = 2000;
const LISTS = ["misc", "read", "segment", "dyhb", "block"];
const WORK = { decode: "decode", CThash: "verify", AES: "decrypt" };

/** Whether it looks like an answer of `event_json`. */
export function isStock(value) {
  return (
    value !== null &&
    typeof value === "object" &&
    LISTS.every((name) => Array.isArray(value[name])) &&
    typeof value.server_info === "object"
  );
}

/** The document.
 *
 * @param id Tahoe's number of the download, or null.
 * @param nowUnix now, for a download that still runs.
 * @throws Error when something is not of the kind that Tahoe writes.
 */
export function convertStock(value, id, nowUnix) {
  for (const name of LISTS) {
    if (value[name].length > MOST_EVENTS) throw new Error(`${name} has too many events`);
    if (value[name].some((each) => each === null || typeof each !== "object")) {
      throw new Error(`${name} has something in it that is no event`);
    }
  }
  const isRunning = value.read.some((read) => read.finish_time === null);
  const started = firstTime(value);
  const ended = isRunning ? Math.max(nowUnix, lastTime(value, started)) : lastTime(value, started);
  const since = (unix) => (unix === null || unix === undefined ? null : round(unix - started));
  const places = new Places(value);
  const segments = value.segment.map((segment) => convertSegment(segment, since));
  const reads = convertReads(value.block, segments, places, since);
  const deliveries = convertDeliveries(segments, value.read);
  const document = {
    format: "tahoe-fastdl-download",
    version: 1,
    plugin: "",
    tahoe: "",
    now_s: since(ended),
    servers: places.servers,
    shares: places.shares,
    dyhb: value.dyhb.map((each) => convertDyhb(each, places, since)),
    reads: reads.map((read) => read.row),
    work: convertWork(value.misc, since),
    deliveries,
    pauses: [],
    samples: sample(reads, deliveries, value.misc, since),
    map: convertMap(reads),
    problems: [],
    thinned: {},
  };
  document.summary = summarize(document, value, { id, started, ended, isRunning, segments, reads });
  return document;
}

const round = (seconds) => Math.max(0, Math.round(seconds * 1e6) / 1e6);

function* timesOf(value) {
  for (const name of LISTS) {
    for (const each of value[name]) {
      if (typeof each.start_time === "number") yield each.start_time;
      if (typeof each.finish_time === "number") yield each.finish_time;
    }
  }
}

function firstTime(value) {
  // Not bounds.min: a node is asked for its segment size before it is read.
  let first = Infinity;
  for (const time of timesOf(value)) first = Math.min(first, time);
  return first === Infinity ? 0 : first;
}

function lastTime(value, started) {
  let last = started;
  for (const time of timesOf(value)) last = Math.max(last, time);
  return last;
}

/** The servers and shares, in the order in which they turn up. */
class Places {
  constructor(value) {
    this.servers = [];
    this.shares = [];
    this._servers = new Map();
    this._shares = new Map();
    for (const serverid of Object.keys(value.server_info)) this.server(serverid, value.server_info);
  }

  server(serverid, info = {}) {
    if (!this._servers.has(serverid)) {
      this._servers.set(serverid, this.servers.length);
      const short = info[serverid]?.short;
      this.servers.push({ name: typeof short === "string" ? short : "", serverid: String(serverid) });
    }
    return this._servers.get(serverid);
  }

  share(serverid, shnum) {
    const key = JSON.stringify([serverid, shnum]);
    if (!this._shares.has(key)) {
      this._shares.set(key, this.shares.length);
      this.shares.push({ shnum, server: this.server(serverid) });
    }
    return this._shares.get(key);
  }
}

function convertSegment(segment, since) {
  return {
    number: segment.segment_number,
    active: since(segment.active_time ?? segment.start_time),
    finished: since(segment.finish_time),
    success: segment.success === true,
    start: segment.segment_start,
    length: segment.segment_length,
  };
}

function convertDyhb(each, places, since) {
  const state = each.finish_time === null ? "open" : each.success ? "ok" : "error";
  const shnums = Array.isArray(each.response_shnums) ? each.response_shnums : [];
  return [places.server(each.serverid), since(each.start_time), since(each.finish_time), shnums, state];
}

/** Tahoe works on one segment at a time: a read is for the one that was active when it was sent. */
function convertReads(blocks, segments, places, since) {
  const active = [...segments].sort((a, b) => a.active - b.active);
  let place = -1;
  const reads = [...blocks]
    .sort((a, b) => a.start_time - b.start_time)
    .map((block) => {
      const sent = since(block.start_time);
      while (place + 1 < active.length && active[place + 1].active <= sent) place += 1;
      const number = place >= 0 && Number.isSafeInteger(active[place].number) ? active[place].number : -1;
      const state = block.finish_time === null ? "open" : block.success ? "done" : "failed";
      const share = places.share(block.serverid, block.shnum);
      const received = state === "done" ? block.response_length ?? block.length : 0;
      return { share, number, length: block.length, start: block.start, sent, done: since(block.finish_time), state, received };
    });
  const longest = new Map();
  for (const read of reads) longest.set(read.number, Math.max(longest.get(read.number) ?? 0, read.length));
  for (const read of reads) {
    const kind = read.number >= 0 && read.length * 2 >= longest.get(read.number) ? "blocks" : "metadata";
    const stop = read.number < 0 ? -1 : read.number + 1;
    read.row = [read.share, kind, read.start, read.length, read.number, stop, read.sent, read.done, read.state, []];
  }
  return reads;
}

function convertDeliveries(segments, wanted) {
  const done = segments.filter((segment) => segment.success && segment.finished !== null);
  const start = Math.min(...wanted.map((read) => read.start), Infinity);
  const stop = Math.max(...wanted.map((read) => read.start + read.length), 0);
  return done
    .map((each) => [0, each.finished, Math.max(each.start, start), Math.min(each.start + each.length, stop)])
    .filter(([, , from, to]) => from < to)
    .sort((a, b) => a[1] - b[1]);
}

function convertWork(misc, since) {
  return misc
    .filter((each) => WORK[each.what] && typeof each.finish_time === "number")
    .map((each) => [WORK[each.what], since(each.start_time), since(each.finish_time), -1, -1, 0]);
}

function convertMap(reads) {
  const found = [];
  for (const read of reads) {
    if (read.row[1] !== "blocks") continue;
    const [first, stop] = [read.number, read.number + 1];
    found.push([read.sent, read.share, first, stop, "pending"]);
    if (read.state !== "open") {
      found.push([read.done, read.share, first, stop, read.state === "done" ? "have" : "gone"]);
    }
  }
  return found.sort((a, b) => a[0] - b[0]);
}

/** Running sums at each event, thinned evenly; Tahoe's "desire" is our recomputation. */
function sample(reads, deliveries, misc, since) {
  const steps = [];
  for (const read of reads) {
    steps.push([read.sent, 0, 0, read.length, 0, 0]);
    if (read.done !== null) steps.push([read.done, 0, read.received, -read.length, 0, 0]);
  }
  for (const [, at, start, stop] of deliveries) steps.push([at, stop - start, 0, 0, 0, 0]);
  for (const each of misc) {
    if (each.what === "satisfy") steps.push([since(each.start_time), 0, 0, 0, 1, 0]);
    if (each.what === "desire") steps.push([since(each.start_time), 0, 0, 0, 0, 1]);
  }
  steps.sort((a, b) => a[0] - b[0]);
  const every = Math.max(1, Math.ceil(steps.length / MOST_SAMPLES));
  const sums = [0, 0, 0, 0, 0];
  const found = [];
  steps.forEach(([at, ...changes], index) => {
    changes.forEach((change, which) => {
      sums[which] += change;
    });
    if (index % every !== 0 && index !== steps.length - 1) return;
    const [delivered, received, inFlight, changed, recomputed] = sums;
    found.push([at, delivered, received, Math.max(0, inFlight), Math.max(0, inFlight), 0, changed, recomputed]);
  });
  return found;
}

function summarize(document, value, facts) {
  const { segments, reads } = facts;
  const known = segments.filter((segment) => Number.isSafeInteger(segment.length));
  const delivered = document.deliveries.reduce((sum, [, , start, stop]) => sum + stop - start, 0);
  const seconds = round(facts.ended - facts.started);
  const wanted = value.read.reduce((sum, read) => sum + read.length, 0);
  const failed = value.read.some((read) => read.finish_time !== null && read.bytes_returned < read.length);
  const used = new Set(reads.map((read) => document.shares[read.share].server));
  const shnums = document.shares.map((share) => share.shnum);
  return {
    id: facts.id,
    storage_index: null,
    kind: "stock",
    state: facts.isRunning ? "running" : failed ? "failed" : "done",
    why: null,
    size: known.length ? Math.max(...known.map((each) => each.start + each.length)) : null,
    k: null,
    n: shnums.length ? Math.max(...shnums) + 1 : null,
    segment_size: known.length ? Math.max(...known.map((each) => each.length)) : null,
    num_segments: segments.length ? Math.max(...segments.map((each) => each.number)) + 1 : null,
    started: facts.started,
    seconds,
    wanted_bytes: wanted,
    delivered_bytes: delivered,
    rate_bytes_per_s: seconds > 0 ? delivered / seconds : 0,
    first_byte_s: document.deliveries.length ? document.deliveries[0][1] : null,
    reads: reads.length,
    received_bytes: reads.reduce((sum, read) => sum + read.received, 0),
    wasted_bytes: 0,
    hedges: 0,
    servers: used.size,
    window_bytes: 0,
    left_s: null,
  };
}
