/** Asks again and again: often while something runs, seldom otherwise, never in a hidden tab. */

const BUSY_MS = 1000;
const IDLE_MS = 2000;
// A large answer takes its time: at most a fifth of it is spent on asking.
const REST_FACTOR = 4;

/** The node has no such document, and will not have it in a second either. */
export class NotThereError extends Error {}

/** A document of this node's.
 *
 * @throws Error that says what is the matter, for people.
 */
export async function fetchJson(address) {
  let response;
  try {
    response = await fetch(address, { cache: "no-store", credentials: "same-origin" });
  } catch {
    throw new Error("The node does not answer.");
  }
  if (response.status === 404) throw new NotThereError("The node does not know this download (any more).");
  if (!response.ok) throw new Error(`The node answered with an error (${response.status}).`);
  try {
    return await response.json();
  } catch {
    throw new Error("The node's answer was no JSON.");
  }
}

/** Poll until stopped.
 *
 * @param look asked each time; resolves with "busy", "idle" or "done" (never again), and
 *   handles its own errors.
 * @return a function that stops it.
 */
export function poll(look) {
  let timer = null;
  let isStopped = false;
  let isLooking = false;

  async function turn() {
    timer = null;
    if (isStopped || isLooking || document.hidden) return;
    isLooking = true;
    const began = performance.now();
    let found;
    try {
      found = await look();
    } finally {
      isLooking = false;
    }
    if (found === "done") stop();
    else schedule(Math.max(found === "busy" ? BUSY_MS : IDLE_MS, REST_FACTOR * (performance.now() - began)));
  }

  function schedule(milliseconds) {
    if (timer !== null) clearTimeout(timer);
    timer = isStopped || document.hidden ? null : setTimeout(turn, milliseconds);
  }

  function onVisibility() {
    if (document.hidden) schedule(0);
    else turn();
  }

  function stop() {
    isStopped = true;
    if (timer !== null) clearTimeout(timer);
    document.removeEventListener("visibilitychange", onVisibility);
  }

  document.addEventListener("visibilitychange", onVisibility);
  turn();
  return stop;
}
