/** One download, shown: verdict, facts, timeline, map, tables. */

import { Table, button, el, setText, show } from "./dom.js";
import { bytes, count, encoding, percent, rate, seconds, tidy, when } from "./format.js";
import { MapView } from "./mapview.js";
import { legend, readColours } from "./paint.js";
import { Timeline } from "./timeline.js";
import { readFate, segmentsText, slowestReads, timeOf, verdict } from "./verdict.js";

const SLOWEST = 20;
const STATE_WORDS = {
  running: "running",
  done: "done",
  failed: "failed",
  stopped: "stopped",
  fallback: "finished by Tahoe's own downloader",
};

const DOWNLOADERS = {
  fast: "tahoe-fastdl",
  fallback: "tahoe-fastdl, then Tahoe's own",
  stock: "whichever; this is what Tahoe recorded", // it records ours as it does its own
};

/** The facts of a download, as `[name, text]`; the same for each, so that two can be compared. */
export function factsOf(model) {
  const summary = model.summary;
  return [
    ["State", STATE_WORDS[summary.state] + (summary.why ? `: ${tidy(summary.why)}` : "")],
    ["Downloader", DOWNLOADERS[summary.kind]],
    ["File", summary.size === null ? "size unknown" : bytes(summary.size)],
    ["Encoding", encoding(summary)],
    ["Segments", summary.num_segments ? `${count(summary.num_segments)} of ${bytes(summary.segment_size)}` : "unknown"],
    ["Time", seconds(summary.seconds)],
    ["Rate", rate(summary.rate_bytes_per_s)],
    ["First byte", seconds(summary.first_byte_s)],
    ["Delivered", bytes(summary.delivered_bytes)],
    ["Reads", count(summary.reads)],
    ["Servers", count(summary.servers)],
    ["Hedges", count(summary.hedges)],
    ["Wasted", `${bytes(summary.wasted_bytes)} (${percent(summary.wasted_bytes, summary.received_bytes)})`],
    ["Started", when(summary.started)],
    ["Storage index", tidy(summary.storage_index ?? "not noted")],
  ];
}

export class Panel {
  /**
   * @param source where the document comes from; see sources.js.
   * @param scale the TimeScale it shares with others, maybe.
   */
  constructor(source, scale, number) {
    this.source = source;
    this.model = null;
    this._scale = scale;
    this._pinned = null; // the moment that was chosen; null follows the end
    this._hovered = null; // the moment under the pointer
    this._timeline = new Timeline(scale, {
      onCursor: (time) => this._hover(time),
      onPin: (time) => this._pin(time),
    });
    this._map = new MapView();
    this._legend = legend();
    this._build(number);
  }

  /** Show this document, the first or a newer one. */
  setModel(model) {
    this.model = model;
    this.verdict = verdict(model);
    show(this._content, true);
    const names = this.verdict.facts.map((fact) => fact.name);
    this._showVerdict();
    this._showFacts();
    this._timeline.setModel(model, { facts: this.verdict.facts, named: this.verdict.server });
    this._map.setModel(model, names);
    this._servers.update(this.verdict.facts.filter((fact) => fact.reads).sort((a, b) => b.held - a.held));
    this._reads.update(slowestReads(model, SLOWEST));
    this._showProblems();
    this._showLinks();
    this._slider.max = String(model.end);
    this._slider.step = String(Math.max(model.end / 1000, 1e-6));
    this._look();
    this.onTheme();
  }

  /** Say what is the matter instead of, or above, the download. */
  setProblem(text) {
    show(this._problem, text !== null);
    setText(this._problem, text ?? "");
  }

  onTheme() {
    this._timeline.onTheme();
    this._map.onTheme();
    this._legend.redraw(readColours());
  }

  destroy() {
    this._timeline.destroy();
    this._map.destroy();
    if (this._blob) URL.revokeObjectURL(this._blob);
    this.node.remove();
  }

  // -- building -----------------------------------------------------------------

  _build(number) {
    const label = `panel-${number}`;
    this._problem = el("p", { class: "problem", role: "alert", hidden: true });
    this._verdict = el("p", { class: "verdict-text", "aria-live": "polite" });
    this._reasons = el("ul", { class: "reasons" });
    this._verdictBox = el("div", { class: "verdict" }, el("h3", {}, "What held it up"), this._verdict, this._reasons);
    this._facts = el("dl", { class: "facts" });
    this._links = el("p", { class: "links" });
    this._thinned = el("p", { class: "small", hidden: true });
    this._problems = el("ul", { class: "problems" });
    this._problemsBox = el("section", { hidden: true }, el("h3", {}, "Noted on the way"), this._problems);
    this._buildSlider(label);
    this._servers = serversTable();
    this._reads = readsTable(this);
    this._content = el(
      "div",
      { hidden: true },
      this._verdictBox,
      this._facts,
      this._links,
      el("h3", {}, "Timeline"),
      this._zoomButtons(),
      this._timeline.node,
      this._legend.node,
      el("p", { class: "small" }, "Shaded in a server's lane: everything waited for this server alone. Drag or use the arrow keys to move, turn the wheel or press + and − to zoom, Home shows all."),
      this._thinned,
      el("h3", {}, "Segments and shares"),
      this._sliderRow,
      this._map.node,
      el("h3", {}, "Servers"),
      this._servers.node,
      el("h3", {}, "Slowest reads"),
      this._reads.node,
      this._problemsBox,
    );
    this.node = el(
      "section",
      { class: "panel", "aria-labelledby": label },
      el("h2", { id: label }, el("bdi", {}, tidy(this.source.title, 80))),
      this._problem,
      this._content,
    );
  }

  _buildSlider(label) {
    this._slider = el("input", { type: "range", min: 0, max: 1, step: 0.001, value: 0, id: `${label}-time` });
    this._slider.addEventListener("input", () => this._pin(Number(this._slider.value)));
    const follow = button("End", () => this._pin(null));
    this._sliderRow = el("p", { class: "slider" }, el("label", { for: `${label}-time` }, "Moment"), this._slider, follow);
  }

  _zoomButtons() {
    const scale = this._scale;
    const middle = () => (scale.from + scale.to) / 2;
    return el(
      "p",
      { class: "buttons" },
      button("Zoom in", () => scale.zoomAt(middle(), 0.5)),
      button("Zoom out", () => scale.zoomAt(middle(), 2)),
      button("Earlier", () => scale.pan(-0.25)),
      button("Later", () => scale.pan(0.25)),
      button("Show all", () => scale.showAll()),
    );
  }

  // -- the moment -----------------------------------------------------------------

  _hover(time) {
    this._hovered = time;
    this._look();
  }

  _pin(time) {
    this._pinned = time;
    this._look();
  }

  _look() {
    if (!this.model) return;
    const time = this._hovered ?? this._pinned ?? this.model.end;
    this._timeline.setCursor(time);
    this._map.setTime(time);
    if (document.activeElement !== this._slider) this._slider.value = String(time);
    this._slider.setAttribute("aria-valuetext", seconds(time));
  }

  // -- filling ----------------------------------------------------------------------

  _showVerdict() {
    const { kind, server, text, reasons } = this.verdict;
    setText(this._verdict, ending(this.model) + text);
    this._verdictBox.dataset.kind = kind;
    this._verdictBox.dataset.server = server === null ? "" : String(server);
    const lines = reasons.map((reason) => el("li", {}, reason));
    if (this._reasons.textContent !== reasons.join("")) this._reasons.replaceChildren(...lines);
  }

  _showFacts() {
    const facts = factsOf(this.model);
    if (this._facts.children.length !== facts.length) {
      this._facts.replaceChildren(...facts.map(([name]) => el("div", {}, el("dt", {}, name), el("dd", {}))));
    }
    facts.forEach(([, text], index) => setText(this._facts.children[index].lastChild, text));
  }

  _showProblems() {
    const problems = this.model.problems;
    show(this._problemsBox, problems.length > 0);
    const shown = problems.slice(-50).map((each) => `${seconds(each.at)}: ${tidy(each.text)}`);
    if (this._problems.textContent !== shown.join("")) {
      this._problems.replaceChildren(...shown.map((text) => el("li", {}, text)));
    }
    const left = Object.entries(this.model.thinned).map(([name, number]) => `${count(number)} of ${name}`);
    show(this._thinned, left.length > 0);
    setText(this._thinned, `So much happened that some of it is not drawn: ${left.join(", ")} left out.`);
  }

  _showLinks() {
    if (this._links.children.length) return;
    const { save, trace } = this.source;
    const name = `tahoe-fastdl-${this.source.key}.json`;
    if (save) this._links.append(el("a", { href: save, download: name }, "Save as a file"));
    else this._links.append(button("Save as a file", () => this._saveHere(name), { class: "link" }));
    if (trace) {
      const file = `tahoe-fastdl-${this.source.key}.trace.json`;
      this._links.append(" · ", el("a", { href: trace, download: file }, "Export for Perfetto (Chrome trace)"));
    }
  }

  _saveHere(name) {
    if (this._blob) URL.revokeObjectURL(this._blob);
    this._blob = URL.createObjectURL(new Blob([JSON.stringify(this.model.source)], { type: "application/json" }));
    el("a", { href: this._blob, download: name }).click();
  }

  /** Zoom to a read. */
  showRead(read) {
    this._timeline.select(read);
    this._timeline.node.scrollIntoView({ block: "nearest" });
  }
}

/** How it ended, where that is not as it should be: it comes before who held it up. */
function ending(model) {
  const { state } = model.summary;
  if (state === "failed") return "The download failed. ";
  if (state === "fallback") return "The plugin gave up, and Tahoe's own downloader went on. ";
  if (state === "stopped") return "The reader left before the end. ";
  return "";
}

function serversTable() {
  const number = (head, text, title) => ({ head, cell: text, number: true, title });
  return new Table(
    "What each server did, the one that was waited for longest first",
    [
      { head: "Server", row: true, cell: (fact) => ({ text: fact.name }) },
      number("Waited for", (fact) => seconds(fact.held), "time in which everything waited for this server alone"),
      number("Reads", (fact) => count(fact.reads)),
      number("Bytes", (fact) => bytes(fact.bytes)),
      number("Typical read", (fact) => seconds(fact.median)),
      number("Slowest", (fact) => seconds(fact.longest)),
      number("Late", (fact) => count(fact.late)),
      number("Stalled", (fact) => count(fact.stalled)),
      number("Failed", (fact) => count(fact.failed)),
      number("Hedges", (fact) => count(fact.hedges), "reads it got in place of another server's"),
      number("Wasted", (fact) => count(fact.wasted)),
    ],
    (fact) => fact.server,
  );
}

function readsTable(panel) {
  const server = (read) => panel.verdict.facts[read.server].name;
  const number = (head, text) => ({ head, cell: text, number: true });
  return new Table(
    `The slowest reads, at most ${SLOWEST}`,
    [
      { head: "Server", row: true, cell: (read) => ({ text: server(read) }) },
      number("Took", (read) => seconds(timeOf(read, panel.model.end))),
      number("Sent at", (read) => seconds(read.sent)),
      number("Share", (read) => String(panel.model.shares[read.share].shnum)),
      { head: "For", cell: (read) => (read.first < 0 ? "header or hashes" : segmentsText(read)) },
      number("Bytes", (read) => bytes(read.length)),
      { head: "What became of it", cell: readFate },
      {
        head: "In the timeline",
        cell: (read) => ({ buttons: [["show", () => panel.showRead(read), `Show the read of ${server(read)}`]] }),
      },
    ],
    (read) => read.index,
  );
}

/** Two downloads' facts in one table. */
export function compare(panels) {
  const table = new Table(
    "Compared",
    [
      { head: "What", row: true, cell: ([name]) => name },
      ...panels.map((panel, index) => ({ head: tidy(panel.source.title, 40), cell: (fact) => fact[1 + index] })),
    ],
    ([name]) => name,
  );
  return {
    node: el("section", {}, el("h2", {}, "Side by side"), table.node),
    update: () => {
      const facts = panels.map((panel) => (panel.model ? factsOf(panel.model) : []));
      const held = panels.map((panel) => panel.verdict?.text ?? "–");
      const names = (facts.find((list) => list.length) ?? []).map(([name]) => name);
      const rows = names.map((name, index) => [name, ...facts.map((list) => list[index]?.[1] ?? "–")]);
      table.update([["Held up by", ...held], ...rows]);
    },
  };
}
