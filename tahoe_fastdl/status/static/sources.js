/** Where a download's document comes from: this node, Tahoe's own record on it, or a file. */

import { DocumentError, readDocument, readStock, readText } from "./model.js";
import { fetchJson } from "./poll.js";

const MOST_FILE_BYTES = 64e6;

/** What one page address asks for.
 *
 * @return `{main, beside}`: sources, or null.
 */
export function sourcesOf(query, address) {
  const parameters = new URLSearchParams(query);
  return { main: mainSource(parameters, address), beside: namedSource(parameters.get("beside")) };
}

function mainSource(parameters, address) {
  if (parameters.has("file")) return null;
  if (parameters.has("stock")) return namedSource(`stock-${parameters.get("stock")}`);
  const id = number(parameters.get("id"));
  return id === null ? null : ownSource(id, address);
}

/** `N` is a download of ours, `stock-M` is Tahoe's own record `down-M`. */
export function namedSource(name) {
  if (name === null) return null;
  const stock = /^stock-(\d{1,15})$/.exec(name);
  if (stock) return stockSource(Number(stock[1]));
  const id = number(name);
  return id === null ? null : ownSource(id);
}

function number(text) {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function ownSource(id, address) {
  const document = address || `v1/downloads/${id}.json`;
  return {
    key: String(id),
    title: `Download ${id}`,
    save: `v1/downloads/${id}.json?save=1`,
    trace: `v1/downloads/${id}.trace.json`,
    isLive: true,
    load: async () => readDocument(await fetchJson(document)),
  };
}

function stockSource(id) {
  // Tahoe's page lies beside ours: the address stays right behind a proxy with a prefix.
  return {
    key: `stock-${id}`,
    title: `Tahoe's record down-${id}`,
    isLive: true,
    load: async () => readStock(await fetchJson(`../../status/down-${id}/event_json`), id, Date.now() / 1000),
  };
}

/** A file that a person chose. */
export function fileSource(file) {
  return {
    key: "file",
    title: `File ${file.name}`,
    isLive: false,
    load: async () => {
      if (file.size > MOST_FILE_BYTES) throw new DocumentError("This file is too large to be a saved download.");
      return readText(await file.text());
    },
  };
}

/** What this node could show beside a download: `[key, words]` each. */
export async function candidates() {
  const found = [];
  try {
    const overview = await fetchJson("v1/overview.json");
    for (const each of overview.downloads ?? []) {
      if (Number.isSafeInteger(each.id)) found.push([String(each.id), `Download ${each.id}`]);
    }
  } catch {
    // A saved page without its node: there is nothing to choose from but files.
  }
  for (const id of await stockNumbers()) found.push([`stock-${id}`, `Tahoe's record down-${id}`]);
  return found;
}

/** The downloads that Tahoe's status page lists; it has no list for machines with their numbers. */
async function stockNumbers() {
  try {
    const response = await fetch("../../status/", { cache: "no-store" });
    if (!response.ok) return [];
    const numbers = new Set();
    for (const [, id] of (await response.text()).matchAll(/\/status\/down-(\d{1,15})"/g)) numbers.add(Number(id));
    return [...numbers].sort((a, b) => b - a);
  } catch {
    return [];
  }
}
