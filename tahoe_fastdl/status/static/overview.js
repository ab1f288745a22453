/** The overview: what runs, what ran, how the servers do. Live, without reloading. */

import { Table, el, setText, show } from "./dom.js";
import { bytes, count, encoding, percent, rate, seconds, serverName, tidy, when } from "./format.js";
import { fetchJson, poll } from "./poll.js";

const FORMAT = "tahoe-fastdl-overview";
const VERSION = 1;

const STATE_WORDS = {
  running: "running",
  done: "done",
  failed: "failed",
  stopped: "stopped",
  fallback: "went on with Tahoe's own downloader",
};

const number = (head, cell, title) => ({ head, cell, number: true, title });

class Overview {
  constructor(main) {
    this._main = main;
    this._src = main.dataset.src || "v1/overview.json";
    this._states = new Map(); // what was last known of each download, to say what changed
    this._build();
    poll(() => this._look());
  }

  _build() {
    this._status = el("p", { class: "status" });
    this._versions = el("p", { class: "small" });
    this._fallback = el("p", { class: "problem fallback", role: "alert", hidden: true });
    this._problem = el("p", { class: "problem", role: "alert", hidden: true });
    this._news = el("p", { class: "unseen", "aria-live": "polite" });
    this._nothing = el(
      "p",
      { class: "empty", hidden: true },
      "Nothing has been downloaded since the node started. Get a file through this node, and it turns up here.",
    );
    this._running = runningTable();
    this._recent = recentTable();
    this._servers = serversTable();
    this._options = pairsTable("Options in force", "Option");
    this._totals = pairsTable("Totals since the node started", "What");
    this._runningBox = section("running", "Running", this._running.node);
    this._recentBox = section("recent", "Recent", this._recent.node);
    this._serversBox = section("servers", "Servers", this._servers.node);
    this._more = el(
      "div",
      { class: "columns" },
      section("totals", "Totals", this._totals.node),
      section("options", "Options", this._options.node),
    );
    const links = el(
      "nav",
      { class: "bar", "aria-label": "More" },
      el("a", { href: "download?file" }, "Open a saved download"),
      el("a", { href: "metrics" }, "Metrics for Prometheus"),
      el("a", { href: "counters.json" }, "Counters"),
      el("a", { href: "v1/overview.json" }, "This page as JSON"),
      el("a", { href: "../../status/" }, "Tahoe's own status"),
    );
    this._main.append(
      this._status, this._versions, this._problem, this._fallback, this._news, links, this._nothing,
      this._runningBox, this._recentBox, this._serversBox, this._more,
    );
  }

  async _look() {
    let found;
    try {
      found = await fetchJson(this._src);
      if (found?.format !== FORMAT || found.version !== VERSION) {
        throw new Error("The node speaks another version of this page's language: reload the page.");
      }
    } catch (problem) {
      const known = this._shownAt ? ` What you see is from ${when(this._shownAt)}.` : "";
      show(this._problem, true);
      setText(this._problem, `${problem.message}${known}`);
      return "idle";
    }
    show(this._problem, false);
    this._shownAt = found.now;
    this._show(found);
    this._main.dataset.ready = "yes";
    return found.downloads.some((each) => each.state === "running") ? "busy" : "idle";
  }

  _show(found) {
    const running = found.downloads.filter((each) => each.state === "running");
    const recent = found.downloads.filter((each) => each.state !== "running");
    this._showStatus(found);
    this._running.update(running);
    this._recent.update(recent);
    this._servers.update(found.servers.map((server, index) => ({ ...server, index })));
    this._options.update(found.options.map(([name, value]) => [name, String(value)]));
    this._totals.update(totalsOf(found));
    show(this._runningBox, running.length > 0);
    show(this._recentBox, recent.length > 0);
    show(this._serversBox, found.servers.length > 0);
    show(this._nothing, found.downloads.length === 0);
    this._tell(found.downloads);
  }

  _showStatus(found) {
    this._status.dataset.active = found.active ? "yes" : "no";
    const why = found.why_not ? ` ${tidy(found.why_not)}` : "";
    setText(
      this._status,
      found.active
        ? "On: this node's downloads are fast ones."
        : `Off: Tahoe's own downloader does all the work.${why}`,
    );
    setText(this._versions, `tahoe-fastdl ${tidy(found.plugin)}, Tahoe-LAFS ${tidy(found.tahoe)}`);
    const last = found.last_fallback;
    show(this._fallback, Boolean(last));
    if (last) {
      setText(
        this._fallback,
        `At ${when(last.at)} download ${last.id ?? "?"} went on with Tahoe's own downloader, because of an error in this ` +
          `plugin. The file was not harmed. ${tidy(last.reason)}`,
      );
    }
  }

  /** Say aloud what came and what ended, and nothing else: numbers change each second. */
  _tell(downloads) {
    const news = [];
    for (const { id, state } of downloads) {
      const before = this._states.get(id);
      if (this._isSeen && before !== state) news.push(`Download ${id}: ${STATE_WORDS[state] ?? tidy(state)}.`);
    }
    this._states = new Map(downloads.map(({ id, state }) => [id, state]));
    this._isSeen = true;
    if (news.length) setText(this._news, news.slice(0, 3).join(" "));
  }
}

function section(id, title, ...children) {
  return el("section", { "aria-labelledby": `${id}-title`, id }, el("h2", { id: `${id}-title` }, title), ...children);
}

// ---------------------------------------------------------------- the tables

/** A download's number, which leads to its page. */
function identity() {
  return {
    head: "Download",
    row: true,
    cell: (each) => ({ links: [[`#${each.id}`, `download?id=${each.id}`, `Download ${each.id}: what happened`]] }),
  };
}

// As much of it as tells files apart; all of it is on the download's own page.
const file = { head: "Storage index", cell: (each) => ({ text: tidy(each.storage_index ?? "", 9) }) };

function runningTable() {
  return new Table(
    "Downloads that run",
    [
      identity(),
      {
        head: "Progress",
        cell: (each) => ({
          part: each.wanted_bytes ? Math.min(1, each.delivered_bytes / each.wanted_bytes) : 0,
          label: `progress of download ${each.id}`,
          text: `${percent(each.delivered_bytes, each.wanted_bytes)} of ${bytes(each.wanted_bytes)}`,
        }),
      },
      number("Rate", (each) => rate(each.rate_bytes_per_s)),
      number("Time left", (each) => seconds(each.left_s)),
      number("Window", (each) => bytes(each.window_bytes), "asked for and not here yet"),
      number("Servers", (each) => count(each.servers)),
      number("Reads", (each) => count(each.reads)),
      number("Hedges", (each) => count(each.hedges)),
      { head: "Encoding", cell: encoding },
      file,
    ],
    (each) => each.id,
  );
}

function recentTable() {
  return new Table(
    "Downloads that ended, the last first",
    [
      identity(),
      { head: "Outcome", cell: (each) => (STATE_WORDS[each.state] ?? "?") + (each.why ? `: ${tidy(each.why, 120)}` : "") },
      number("Size", (each) => bytes(each.size)),
      { head: "Encoding", cell: encoding },
      number("Time", (each) => seconds(each.seconds)),
      number("Rate", (each) => rate(each.rate_bytes_per_s)),
      number("First byte", (each) => seconds(each.first_byte_s)),
      number("Reads", (each) => count(each.reads)),
      number("Hedges", (each) => count(each.hedges)),
      number("Wasted", (each) => percent(each.wasted_bytes, each.received_bytes)),
      { head: "Started", fixed: true, cell: (each) => when(each.started) },
      file,
      {
        head: "Export",
        cell: (each) => ({
          links: [
            ["save", `v1/downloads/${each.id}.json?save=1`, `Save download ${each.id} as a file`],
            ["trace", `v1/downloads/${each.id}.trace.json`, `Export download ${each.id} for Perfetto`],
          ],
        }),
      },
    ],
    (each) => each.id,
  );
}

function serversTable() {
  return new Table(
    "What was seen of each server",
    [
      { head: "Server", row: true, cell: (each) => ({ text: serverName(each) }) },
      { head: "State", cell: (each) => (each.stalled ? { text: "stalled", strong: true } : "answers") },
      { head: "Over", cell: (each) => tidy(each.transport, 20) || "–" },
      number("Latency", (each) => seconds(each.latency_s)),
      number("Rate", (each) => (each.rate_bytes_per_s === null ? "–" : rate(each.rate_bytes_per_s))),
      number("In flight", (each) => bytes(each.in_flight_bytes)),
      number("Reads", (each) => count(each.reads)),
      number("Bytes", (each) => bytes(each.bytes)),
      number("Errors", (each) => count(each.errors)),
      number("Lies", (each) => count(each.lies), "answers that failed a hash"),
      number("Hedged", (each) => count(each.hedged), "reads that were asked of another server too, as they were late"),
      { head: "Id", cell: (each) => ({ text: tidy(each.serverid, 14) }) },
    ],
    (each) => `${each.serverid} ${each.index}`,
  );
}

function pairsTable(caption, head) {
  return new Table(
    caption,
    [
      { head, row: true, cell: ([name]) => tidy(name) },
      number("Value", ([, value]) => tidy(value)),
    ],
    ([name]) => name,
  );
}

function totalsOf(found) {
  const { total_bytes: total, used_bytes: used, peak_bytes: peak } = found.memory;
  const memory = [["memory in use", `${bytes(used)} of ${bytes(total)}, at most ${bytes(peak)}`]];
  const counters = Object.entries(found.totals)
    .filter(([name, value]) => typeof value === "number" && !name.startsWith("memory_"))
    .map(([name, value]) => [name.replaceAll("_", " "), name.endsWith("_bytes") ? bytes(value) : count(value)]);
  return [...memory, ...counters];
}

const main = document.getElementById("overview");
if (main) new Overview(main);
