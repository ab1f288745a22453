/** Builds the page's elements.
 *
 * The one place where elements are made. Text goes in as text only, never as markup, and an
 * address must be one of this node's own or of what the page made itself.
 */

const HARMLESS_ADDRESS = /^(?:[\w./?#][\w./?=&%#-]*|blob:.*)$/;
const LEFT_ALONE = new Set(["on", "class", "href"]);

/** An element.
 *
 * @param properties attributes by name; `class`; `on`, an object of listeners.
 * @param children elements, or anything else as text.
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  if (properties.class) element.className = properties.class;
  if (properties.href !== undefined) setAddress(element, properties.href);
  for (const [name, listener] of Object.entries(properties.on ?? {})) {
    element.addEventListener(name, listener);
  }
  for (const [name, value] of Object.entries(properties)) {
    if (LEFT_ALONE.has(name) || value === false || value === null || value === undefined) continue;
    if (name === "style" || name.startsWith("on")) throw new TypeError(`${name} is no text`);
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** Let a link lead there. */
export function setAddress(link, address) {
  if (!HARMLESS_ADDRESS.test(address) || address.startsWith("//")) {
    throw new TypeError("not an address of this node's");
  }
  if (link.getAttribute("href") !== address) link.setAttribute("href", address);
}

/** Change an element's text, unless it is the same: readers and selections are not disturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show or hide. */
export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

/** What is wide scrolls by itself, also by keyboard, so that the page does not. */
export function scrolling(label, ...children) {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, ...children);
}

/** A button that does something here; nothing on these pages changes the node. */
export function button(text, onClick, properties = {}) {
  return el("button", { type: "button", ...properties, on: { click: onClick } }, text);
}

/** A table whose rows follow a list, by key; what did not change is not touched.
 *
 * A column is `{head, cell, number, fixed, row, title}`: `cell(item)` gives text, or
 * `{text, links: [[text, address], ...], part, strong}`, where `part` (0 to 1) is shown as a bar;
 * `row` marks the column that names the row, and `fixed` one that is not wrapped.
 */
export class Table {
  constructor(caption, columns, keyOf) {
    this._columns = columns;
    this._keyOf = keyOf;
    this._rows = new Map();
    this._body = el("tbody");
    const heads = columns.map((column) =>
      el("th", { scope: "col", class: column.number ? "number" : "", title: column.title }, column.head),
    );
    const head = el("thead", {}, el("tr", {}, ...heads));
    this.table = el("table", {}, el("caption", {}, caption), head, this._body);
    this.node = scrolling(caption, this.table);
  }

  /** Show these, in this order. */
  update(items) {
    const kept = new Map();
    let place = this._body.firstChild;
    for (const item of items) {
      const key = String(this._keyOf(item));
      if (kept.has(key)) continue;
      const row = this._rows.get(key) ?? this._newRow();
      kept.set(key, row);
      if (row.node === place) place = place.nextSibling;
      else this._body.insertBefore(row.node, place);
      this._columns.forEach((column, index) => fill(row, index, column.cell(item)));
    }
    for (const [key, row] of this._rows) if (!kept.has(key)) row.node.remove();
    this._rows = kept;
  }

  _newRow() {
    const cells = this._columns.map((column) =>
      column.row
        ? el("th", { scope: "row" })
        : el("td", { class: column.number ? "number" : column.fixed ? "fixed" : "" }),
    );
    return { node: el("tr", {}, ...cells), cells, shown: cells.map(() => null) };
  }
}

function fill(row, index, content) {
  const cell = row.cells[index];
  if (typeof content === "string") {
    if (row.shown[index] !== content) cell.textContent = content;
    row.shown[index] = content;
    return;
  }
  const { part, ...fixed } = content;
  const signature = JSON.stringify([fixed, part === undefined]);
  if (row.shown[index] !== signature) {
    cell.replaceChildren(...parts(fixed, part !== undefined));
    row.shown[index] = signature;
  }
  const bar = cell.querySelector("progress");
  if (bar && bar.value !== part) bar.value = part;
}

function parts(content, hasBar) {
  const found = [];
  if (hasBar) found.push(el("progress", { max: 1, "aria-label": content.label ?? "progress" }));
  if (content.text) found.push(el(content.strong ? "strong" : "bdi", {}, content.text));
  for (const [text, address, name] of content.links ?? []) {
    found.push(" ", el("a", { href: address, "aria-label": name }, text));
  }
  for (const [text, onClick, name] of content.buttons ?? []) {
    found.push(button(text, onClick, { class: "link", "aria-label": name }));
  }
  return found;
}
