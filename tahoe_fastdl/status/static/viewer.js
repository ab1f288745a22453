/** The page of one download, or of two side by side. */

import { button, el, setAddress, setText, show } from "./dom.js";
import { tidy } from "./format.js";
import { DocumentError } from "./model.js";
import { watchTheme } from "./paint.js";
import { Panel, compare } from "./panel.js";
import { NotThereError, poll } from "./poll.js";
import { TimeScale } from "./scale.js";
import { candidates, fileSource, namedSource, sourcesOf } from "./sources.js";

const CHOOSE = "";
const FILE = "file";

class Viewer {
  constructor(main) {
    this._main = main;
    this._scale = new TimeScale(1);
    this._slots = [null, null]; // the main download and the one beside it: {panel, stop}
    this._comparison = null;
    this._build();
    const { main: first, beside } = sourcesOf(location.search, main.dataset.src);
    if (first) this.open(0, first);
    else this._hint(true);
    if (beside) this.open(1, beside);
    watchTheme(() => this._panels().forEach((panel) => panel.onTheme()));
  }

  _build() {
    this._empty = el(
      "p",
      { class: "empty", hidden: true },
      "Open a download that was saved from this page, or Tahoe's own event_json: choose a file, or drop one here.",
    );
    this._error = el("p", { class: "problem", role: "alert", hidden: true });
    this._file = el("input", { type: "file", accept: ".json,application/json", id: "open-file" });
    this._file.addEventListener("change", () => {
      if (this._file.files[0]) this._openFile(this._file.files[0]);
      this._file.value = "";
    });
    this._beside = el("select", { id: "beside" });
    this._beside.addEventListener("change", () => this._choose(this._beside.value));
    this._beside.addEventListener("focus", () => this._fillChoices(), { once: true });
    this._fillChoices();
    this._close = button("Close the second", () => this._closeBeside(), { hidden: true });
    const back = el("a", {}, "All downloads");
    setAddress(back, "./");
    const bar = el(
      "nav",
      { class: "bar", "aria-label": "What is shown" },
      back,
      el("span", {}, el("label", { for: "open-file" }, "Open a saved file "), this._file),
      el("span", {}, el("label", { for: "beside" }, "Beside it "), this._beside),
      this._close,
    );
    this._top = el("div", {});
    this._panelsBox = el("div", { class: "panels" });
    this._main.append(bar, this._error, this._empty, this._top, this._panelsBox);
    this._listenForDrops();
  }

  _panels() {
    return this._slots.filter(Boolean).map((slot) => slot.panel);
  }

  _hint(visible) {
    show(this._empty, visible);
  }

  // -- opening ------------------------------------------------------------------

  /** Show a source as the main download (0) or beside it (1). */
  open(place, source) {
    this._discard(place);
    this._hint(false);
    const panel = new Panel(source, this._scale, place);
    this._slots[place] = { panel, stop: null };
    this._panelsBox.replaceChildren(...this._panels().map((each) => each.node));
    this._arrange();
    const slot = this._slots[place];
    slot.stop = poll(() => this._load(slot));
  }

  async _load(slot) {
    const { panel } = slot;
    let model;
    try {
      model = await panel.source.load();
    } catch (problem) {
      panel.setProblem(problem.message);
      const isFinal = problem instanceof DocumentError || problem instanceof NotThereError;
      return panel.source.isLive && !isFinal ? "idle" : "done";
    }
    if (!this._slots.includes(slot)) return "done";
    panel.setProblem(null);
    panel.setModel(model);
    this._fitScale();
    this._comparison?.update();
    return panel.source.isLive && model.isRunning ? "busy" : "done";
  }

  _fitScale() {
    this._scale.setEnd(Math.max(...this._panels().map((panel) => panel.model?.end ?? 0)));
  }

  _discard(place) {
    const slot = this._slots[place];
    if (!slot) return;
    this._slots[place] = null;
    slot.stop?.();
    slot.panel.destroy();
  }

  _arrange() {
    const panels = this._panels();
    this._panelsBox.classList.toggle("two", panels.length === 2);
    this._comparison = panels.length === 2 ? compare(panels) : null;
    this._name(panels.map((panel) => tidy(panel.source.title, 80)));
    this._top.replaceChildren(...(this._comparison ? [this._comparison.node] : []));
    this._comparison?.update();
    show(this._close, this._slots[1] !== null);
  }

  /** The page is named for what it shows; one download needs no second heading. */
  _name(titles) {
    if (!titles.length) return;
    document.title = `${titles.join(" and ")} – tahoe-fastdl`;
    const heading = document.querySelector("h1");
    if (heading) setText(heading, titles.join(" and "));
  }

  _closeBeside() {
    this._discard(1);
    this._arrange();
    if (this._panels().length) this._fitScale();
    this._scale.showAll();
    this._beside.value = CHOOSE;
    this._remember(null);
  }

  // -- choosing -------------------------------------------------------------------

  async _fillChoices() {
    const shown = this._slots[0]?.panel.source.key;
    const options = [[CHOOSE, "nothing"], [FILE, "a saved file…"], ...(await candidates())];
    const chosen = this._slots[1]?.panel.source.key ?? this._beside.value;
    const others = options.filter(([key]) => key !== shown || key === CHOOSE);
    this._beside.replaceChildren(...others.map(([key, words]) => el("option", { value: key }, words)));
    this._beside.value = others.some(([key]) => key === chosen) ? chosen : CHOOSE;
  }

  _choose(key) {
    if (key === CHOOSE) this._closeBeside();
    else if (key === FILE) this._file.click();
    else {
      this.open(1, namedSource(key));
      this._remember(key);
    }
  }

  /** The address says what is shown, so that it can be kept. */
  _remember(beside) {
    const address = new URL(location.href);
    if (beside === null) address.searchParams.delete("beside");
    else address.searchParams.set("beside", beside);
    history.replaceState(null, "", address);
  }

  // -- files -----------------------------------------------------------------------

  /** A file goes beside what is there if that was asked for, else it is the main one. */
  async _openFile(file) {
    const source = fileSource(file);
    let model;
    try {
      model = await source.load();
    } catch (problem) {
      show(this._error, true);
      setText(this._error, `${source.title} was not opened. ${problem.message}`);
      return;
    }
    show(this._error, false);
    const wantsBeside = this._beside.value === FILE && this._slots[0] !== null;
    this.open(wantsBeside ? 1 : 0, { ...source, load: async () => model });
    if (!wantsBeside) this._scale.showAll();
  }

  _listenForDrops() {
    const body = document.body;
    body.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      body.classList.add("dropping");
    });
    for (const name of ["dragleave", "drop", "dragend"]) {
      body.addEventListener(name, () => body.classList.remove("dropping"));
    }
    body.addEventListener("drop", (event) => {
      const [file] = event.dataTransfer?.files ?? [];
      if (!file) return;
      event.preventDefault();
      this._openFile(file);
    });
  }
}

const main = document.getElementById("viewer");
if (main) {
  new Viewer(main);
  main.dataset.ready = "yes";
}
