/** A download's document, checked and made into records.
 *
 * Pure. Takes `v1/downloads/N.json`, a saved file of it, or Tahoe's own `event_json`, from
 * wherever: nothing in it is believed before it was looked at. Times are seconds since the
 * download started, ranges half-open. What the arrays' columns mean is in docs/download-page.rst.
 */

import { convertStock, isStock } from "./stock.js";

const FORMAT = "tahoe-fastdl-download";
const VERSION = 1;

const MOST_FILE_BYTES = 64e6; // a download's events take 2 MiB at most
const MOST_ROWS = 500_000;
const MOST_SECONDS = 1e8;

/** The document is not what it should be; the text says what, for people. */
export class DocumentError extends Error {}

// ---------------------------------------------------------------- checks of one value

function fail(path, expected) {
  throw new DocumentError(`The file is damaged: ${path} is not ${expected}.`);
}

const time = (value, path) =>
  typeof value === "number" && value >= 0 && value <= MOST_SECONDS ? value : fail(path, "a time in seconds");

const whole = (value, path) =>
  Number.isSafeInteger(value) && value >= 0 ? value : fail(path, "a whole number");

const wholeOrNone = (value, path) => (value === -1 ? -1 : whole(value, path));

const number = (value, path) =>
  typeof value === "number" && value >= 0 && Number.isFinite(value) ? value : fail(path, "a number");

const text = (value, path) => (typeof value === "string" ? value.slice(0, 2000) : fail(path, "text"));

const orNull = (check) => (value, path) => (value === null || value === undefined ? null : check(value, path));

const oneOf = (...names) => (value, path) =>
  names.includes(value) ? value : fail(path, `one of ${names.join(", ")}`);

const list = (check, most = MOST_ROWS) => (value, path) => {
  if (!Array.isArray(value)) fail(path, "a list");
  if (value.length > most) fail(path, `a list of at most ${most}`);
  return value.map((each, index) => check(each, `${path}[${index}]`));
};

const object = (fields) => (value, path) => {
  if (value === null || typeof value !== "object" || Array.isArray(value)) fail(path, "an object");
  const found = {};
  for (const [name, check] of Object.entries(fields)) found[name] = check(value[name], `${path}.${name}`);
  return found;
};

/** A row: an array whose columns have these names, in this order; more columns are left alone. */
const row = (columns) => {
  const entries = Object.entries(columns);
  return (value, path) => {
    if (!Array.isArray(value) || value.length < entries.length) fail(path, `a row of ${entries.length}`);
    const found = {};
    entries.forEach(([name, check], index) => {
      found[name] = check(value[index], `${path}[${index}]`);
    });
    return found;
  };
};

// ---------------------------------------------------------------- the document

const SUMMARY = object({
  id: orNull(whole),
  storage_index: orNull(text),
  kind: oneOf("fast", "fallback", "stock"),
  state: oneOf("running", "done", "failed", "stopped", "fallback"),
  why: orNull(text),
  size: orNull(whole),
  k: orNull(whole),
  n: orNull(whole),
  segment_size: orNull(whole),
  num_segments: orNull(whole),
  started: number,
  seconds: time,
  wanted_bytes: orNull(whole),
  delivered_bytes: whole,
  rate_bytes_per_s: number,
  first_byte_s: orNull(time),
  reads: whole,
  received_bytes: whole,
  wasted_bytes: whole,
  hedges: whole,
  servers: whole,
});

const SERVER = object({ name: text, serverid: text });

const READ = {
  share: whole,
  kind: oneOf("blocks", "metadata", "evidence"),
  start: whole,
  length: whole,
  first: wholeOrNone,
  stop: wholeOrNone,
  sent: time,
  done: orNull(time),
  state: oneOf("open", "done", "failed", "abandoned"),
  flags: list(text, 20),
};
const FLAGS = ["hedge", "late", "stalled", "wasted"];

const ROWS = {
  dyhb: row({
    server: whole,
    sent: time,
    answered: orNull(time),
    shnums: list(whole, 1000),
    state: oneOf("ok", "error", "open"),
  }),
  reads: row(READ),
  work: row({
    what: oneOf("decode", "verify", "decrypt"),
    began: time,
    ended: orNull(time),
    first: wholeOrNone,
    stop: wholeOrNone,
    worker: whole,
  }),
  deliveries: row({ reader: whole, at: time, start: whole, stop: whole }),
  pauses: row({ reader: whole, from: time, to: orNull(time) }),
  samples: row({
    at: time,
    delivered: number,
    received: number,
    inFlight: number,
    held: number,
    limit: number,
    changes: number,
    recomputations: number,
  }),
  map: row({
    at: time,
    share: whole,
    first: whole,
    stop: whole,
    state: oneOf("wanted", "pending", "have", "bad", "gone"),
  }),
  problems: row({ at: time, text }),
};

/** The download in a file's text.
 *
 * @throws DocumentError that says what is wrong with it.
 */
export function readText(content) {
  if (content.length > MOST_FILE_BYTES) {
    throw new DocumentError("This file is too large to be a saved download.");
  }
  let value;
  try {
    value = JSON.parse(content);
  } catch {
    throw new DocumentError("This is not a saved download: it is not JSON.");
  }
  return readDocument(isStock(value) ? checked(() => convertStock(value, null, 0)) : value);
}

/** Tahoe's own record of a download.
 *
 * @param value what `/status/down-M/event_json` answered.
 * @param nowUnix now, for a download that still runs.
 * @throws DocumentError that says what is wrong with it.
 */
export function readStock(value, id, nowUnix) {
  if (!isStock(value)) throw new DocumentError("Tahoe's answer is not a list of a download's events.");
  return readDocument(checked(() => convertStock(value, id, nowUnix)));
}

function checked(convert) {
  try {
    return convert();
  } catch (problem) {
    throw new DocumentError(`Tahoe's list of events is damaged: ${problem.message}`);
  }
}

/** The download in a document.
 *
 * @return records under the document's names; besides `source` (the document), `end` (seconds
 *   until which there is something to show) and `isRunning`.
 * @throws DocumentError that says what is wrong with it.
 */
export function readDocument(value) {
  checkFormat(value);
  const found = { source: value };
  found.plugin = text(value.plugin ?? "", "plugin");
  found.tahoe = text(value.tahoe ?? "", "tahoe");
  found.summary = SUMMARY(value.summary, "summary");
  found.servers = list(SERVER, 10_000)(value.servers, "servers");
  found.shares = list(object({ shnum: whole, server: whole }), 100_000)(value.shares, "shares");
  for (const [name, check] of Object.entries(ROWS)) found[name] = list(check)(value[name] ?? [], name);
  found.thinned = readThinned(value.thinned);
  checkReferences(found);
  found.reads = found.reads.map((read, index) => withFlags(read, index, found.shares));
  found.isRunning = found.summary.state === "running";
  found.end = endOf(found, time(value.now_s ?? 0, "now_s"));
  return found;
}

function checkFormat(value) {
  if (value === null || typeof value !== "object" || value.format !== FORMAT) {
    throw new DocumentError("This is not a saved download of tahoe-fastdl, nor Tahoe's list of events.");
  }
  if (value.version !== VERSION) {
    const version = Number.isSafeInteger(value.version) ? `version ${value.version}` : "an unknown version";
    throw new DocumentError(`This download was saved in ${version} of the format; this page reads version ${VERSION}.`);
  }
}

function readThinned(value) {
  const found = {};
  if (value === null || typeof value !== "object") return found;
  for (const name of Object.keys(ROWS)) {
    if (value[name]) found[name] = whole(value[name], `thinned.${name}`);
  }
  return found;
}

function checkReferences(found) {
  const refer = (rows, column, things, name) =>
    rows.forEach((each, index) => {
      if (each[column] >= things.length) fail(`${name}[${index}]`, `about a known ${column}`);
    });
  refer(found.shares, "server", found.servers, "shares");
  refer(found.dyhb, "server", found.servers, "dyhb");
  refer(found.reads, "share", found.shares, "reads");
  refer(found.map, "share", found.shares, "map");
}

function withFlags(read, index, shares) {
  const { flags, ...found } = read;
  found.index = index;
  found.server = shares[read.share].server;
  for (const name of FLAGS) found[name] = flags.includes(name);
  // A stalled read was late first; whoever counts the late ones means both.
  found.late ||= found.stalled;
  if (found.state === "open") found.done = null;
  return found;
}

function endOf(found, now) {
  if (found.isRunning) return Math.max(now, found.summary.seconds, 1e-3);
  let end = Math.max(found.summary.seconds, 1e-3);
  const last = (rows, ...columns) => {
    for (const each of rows) for (const column of columns) if (each[column] > end) end = each[column];
  };
  last(found.reads, "sent", "done");
  last(found.work, "ended");
  last(found.deliveries, "at");
  last(found.dyhb, "sent");
  return end;
}

/** How many segments the file has, or at least has shown. */
export function segmentCount(model) {
  if (model.summary.num_segments) return model.summary.num_segments;
  let most = 0;
  for (const each of model.map) most = Math.max(most, each.stop);
  for (const each of model.reads) most = Math.max(most, each.stop);
  return most;
}

/** One read as one word, the most telling first. */
export function readState(read) {
  if (read.state === "failed") return "failed";
  if (read.state === "open") return read.stalled ? "stalled" : read.late ? "late" : "open";
  if (read.stalled) return "stalled";
  if (read.late) return "late";
  if (read.state === "abandoned") return "abandoned";
  if (read.wasted) return "wasted";
  if (read.hedge) return "hedge";
  return "done";
}
