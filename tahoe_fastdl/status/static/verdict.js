/** Who held up a download, in one sentence, and why one can say so.
 *
 * Pure. The sentence always names a server when one is to blame, however little.
 */

import { bytes, plural, seconds, serverName } from "./format.js";
import { lengthOf, pausesOf, waitsFor } from "./waits.js";

// Less than this is how servers are, not what held anybody up.
const LEAST_PART = 0.1;
const LEAST_S = 0.05;
// One server is to blame if the next was waited for at most a half as long.
const FAR_AHEAD = 2;

/** What each server did: counts, times in seconds, and the time in which it alone was waited for. */
export function serverFacts(model) {
  const waits = waitsFor(model);
  const facts = model.servers.map((server, index) => ({
    server: index,
    name: serverName(server),
    serverid: server.serverid,
    reads: 0,
    bytes: 0,
    late: 0,
    stalled: 0,
    failed: 0,
    open: 0,
    hedges: 0,
    wasted: 0,
    longest: null,
    median: null,
    held: lengthOf(waits[index]),
    waits: waits[index],
    took: [],
  }));
  for (const read of model.reads) countRead(facts[read.server], read, model.end);
  for (const fact of facts) {
    fact.took.sort((a, b) => a - b);
    fact.median = fact.took.length ? fact.took[fact.took.length >> 1] : null;
    fact.longest = fact.took.length ? fact.took[fact.took.length - 1] : null;
  }
  tellApart(facts);
  return facts;
}

function countRead(fact, read, end) {
  fact.reads += 1;
  if (read.state === "done") fact.bytes += read.length;
  for (const name of ["late", "stalled", "wasted"]) if (read[name]) fact[name] += 1;
  if (read.state === "failed") fact.failed += 1;
  if (read.state === "open") fact.open += 1;
  if (read.hedge) fact.hedges += 1;
  fact.took.push(Math.max(0, (read.done ?? end) - read.sent));
}

/** Two servers may have one name: then each is called by its id too. */
function tellApart(facts) {
  const seen = new Map();
  for (const fact of facts) seen.set(fact.name, (seen.get(fact.name) ?? 0) + 1);
  for (const fact of facts) {
    if (seen.get(fact.name) > 1 && fact.serverid) {
      fact.name = `${fact.name} (${serverName({ name: "", serverid: fact.serverid }).slice(0, 10)})`;
    }
  }
}

/** The verdict.
 *
 * @return `{kind, server, text, reasons, facts}`: `kind` is "server" (it held the download up),
 *   "late" (its reads were late, but it cost little), "reader", "search", "spread" or "nothing";
 *   `server` is the one that is named, or null; `reasons` are sentences.
 */
export function verdict(model) {
  const facts = serverFacts(model);
  const found = judge(model, facts);
  return { server: null, reasons: [], ...found, facts };
}

function judge(model, facts) {
  const took = model.end;
  const least = Math.max(LEAST_S, LEAST_PART * took);
  const ranked = [...facts].sort((a, b) => b.held - a.held || b.late + b.failed - a.late - a.failed);
  const [worst, second] = ranked;
  const total = facts.reduce((sum, fact) => sum + fact.held, 0);
  const paused = lengthOf(pausesOf(model));
  const searched = searchTime(model);
  if (worst && worst.held >= least && worst.held >= Math.max(paused, searched)) {
    const isAlone = !second || worst.held >= FAR_AHEAD * second.held;
    if (isAlone || (isFaulty(worst) && !isFaulty(second))) return guiltyServer(model, worst, facts);
  }
  if (paused >= least && paused >= searched) {
    const text = `No server held it up: whoever reads the file had paused for ${seconds(paused)} of ${seconds(took)}.`;
    return { kind: "reader", text, ...lateOnes(ranked) };
  }
  if (searched >= least) return slowSearch(model, searched, facts);
  if (worst && worst.held >= least) return spread(took, total, ranked);
  return mildOrNothing(model, ranked);
}

const isFaulty = (fact) => fact.late + fact.failed > 0;

function guiltyServer(model, worst, facts) {
  const verb = model.isRunning ? "is holding up" : "held up";
  const text =
    `${worst.name} ${verb} the download: ${seconds(worst.held)} of ${seconds(model.end)}` +
    " went by in waiting for this server alone.";
  const reasons = [];
  reasons.push(...faultsOf(worst));
  const others = median(facts.filter((fact) => fact !== worst && fact.median !== null).map((fact) => fact.median));
  if (others !== null && worst.median > 1.5 * others) {
    reasons.push(`A typical read took ${seconds(worst.median)}, with the other servers ${seconds(others)}.`);
  }
  const longest = slowest(model.reads.filter((read) => read.server === worst.server), model.end);
  if (longest) reasons.push(`Its slowest read (${readText(longest, model)}) took ${seconds(timeOf(longest, model.end))}.`);
  const hedges = model.reads.filter((read) => read.hedge && read.server !== worst.server).length;
  if (hedges) reasons.push(`${plural(hedges, "hedge was", "hedges were")} sent to other servers.`);
  return { kind: "server", server: worst.server, text, reasons };
}

/** What one can say against a server, as sentences. */
function faultsOf(fact) {
  const faults = [];
  const say = (number, what) => {
    if (number) faults.push(`${number} ${what}`);
  };
  say(fact.late, fact.stalled ? `late (${fact.stalled} of them stalled)` : "late");
  say(fact.failed, "failed");
  say(fact.open, "not answered yet");
  return faults.length ? [`Of its ${plural(fact.reads, "read")}: ${faults.join(", ")}.`] : [];
}

function lateOnes(ranked) {
  const late = ranked.filter(isFaulty);
  return { reasons: late.slice(0, 5).map((fact) => `${fact.name}: ${faultsOf(fact)[0]}`) };
}

function slowSearch(model, searched, facts) {
  const slow = slowest(model.dyhb.map((each) => ({ ...each, done: each.answered })), model.end);
  const name = slow ? facts[slow.server].name : null;
  const reasons = name
    ? [`The slowest answer to “do you have blocks?” was ${name}'s: ${seconds(timeOf(slow, model.end))}.`]
    : [];
  const text = model.reads.length
    ? `Finding the shares took ${seconds(searched)} of ${seconds(model.end)}, before anything could be read.`
    : `No share has been found in ${seconds(searched)}.`;
  return { kind: "search", text, reasons };
}

function spread(took, total, ranked) {
  const named = ranked.slice(0, 2).map((fact) => `${fact.name} (${seconds(fact.held)})`);
  const text =
    `No single server held it up: ${seconds(total)} of ${seconds(took)} were spent waiting now for one,` +
    ` now for another, most for ${named.join(" and ")}.`;
  return { kind: "spread", text, ...lateOnes(ranked) };
}

function mildOrNothing(model, ranked) {
  const faulty = ranked.filter(isFaulty).sort((a, b) => b.late + b.failed - a.late - a.failed);
  if (!faulty.length) {
    if (!model.reads.length) return { kind: "nothing", text: "Nothing was read from any server." };
    return { kind: "nothing", text: "Nothing held it up: no read was late or failed, and no server kept the others waiting for long." };
  }
  const [first] = faulty;
  const late = first.late ? `${plural(first.late, "read")} of ${first.name} ${first.late === 1 ? "was" : "were"} late` : "";
  const failed = first.failed
    ? `${plural(first.failed, "read")} of ${first.name} failed`
    : "";
  const cost = first.held > 0 ? `cost ${seconds(first.held)} of ${seconds(model.end)}` : "cost no time";
  const text = `Nothing held it up for long. ${[late, failed].filter(Boolean).join(", ")}, which ${cost}.`;
  return { kind: "late", server: first.server, text, ...lateOnes(faulty) };
}

// ---------------------------------------------------------------- small things

/** How long it took until the first read was sent. */
function searchTime(model) {
  if (!model.dyhb.length) return 0;
  let first = model.end;
  for (const read of model.reads) first = Math.min(first, read.sent);
  return first;
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : null;
}

/** How long something took, or has taken until `end`. */
export function timeOf(read, end) {
  return Math.max(0, (read.done ?? end) - read.sent);
}

function slowest(reads, end) {
  return reads.reduce((best, read) => (!best || timeOf(read, end) > timeOf(best, end) ? read : best), null);
}

/** The slowest reads, slowest first. */
export function slowestReads(model, most) {
  return [...model.reads].sort((a, b) => timeOf(b, model.end) - timeOf(a, model.end)).slice(0, most);
}

/** What a read asked for. */
export function readText(read, model) {
  const share = `share ${model.shares[read.share].shnum}`;
  const length = bytes(read.length);
  if (read.first < 0) return `${share}, ${read.kind === "evidence" ? "hashes" : "header or hashes"}, ${length}`;
  return `${share}, ${segmentsText(read)}, ${length}`;
}

/** "segment 3", "segments 3–7". */
export function segmentsText(read) {
  if (read.first < 0) return "–";
  if (read.stop === read.first + 1) return `segment ${read.first}`;
  return `segments ${read.first}–${read.stop - 1}`;
}

/** What happened to a read, in words. */
export function readFate(read) {
  const words = [];
  if (read.hedge) words.push("hedge");
  if (read.stalled) words.push("stalled");
  else if (read.late) words.push("late");
  if (read.state === "failed") words.push("failed");
  if (read.state === "abandoned") words.push("abandoned");
  if (read.state === "open") words.push("no answer yet");
  if (read.wasted) words.push("wasted");
  return words.join(", ") || "in time";
}
