// What all lists have in common: a title, rows that stay where they are, more on demand, and a word where there is none.

import { at, el, keyed, say } from "./dom.js";

/** A list in the panel. `load(after)` gives `{items, after, note}`; `row` makes a node of an item. */
export class List {
  #load;
  #row;
  #idOf;
  #markOf;
  #items = [];
  #after = null;
  #pages = 1;
  #asked = 0;

  constructor({ title, actions = [], empty, load, row, idOf, markOf, hint = "" }) {
    this.#load = load;
    this.#row = row;
    this.#idOf = idOf;
    this.#markOf = markOf;
    this.empty = empty;
    this.rows = el("ul", { className: "rows" });
    this.note = el("p", { className: "quiet", role: "status" });
    this.more = el("button", { type: "button", hidden: true, textContent: "Show more", onclick: () => this.#further().catch((error) => say(this.note, error.message)) });
    at("panel").replaceChildren(
      el("div", { className: "head" }, el("h2", { id: "panel-title", className: "unseen", textContent: title }), ...actions),
      hint ? el("p", { className: "quiet", textContent: hint }) : "",
      this.rows,
      this.note,
      this.more,
    );
  }

  /** Look again; what was shown beyond the first page is left as it is. */
  async refresh() {
    if (this.#pages > 1) return;
    const asked = ++this.#asked;
    const page = await this.#load(null);
    if (asked !== this.#asked) return; // something newer was asked meanwhile
    this.#items = page.items;
    this.#shown(page);
  }

  /** From the first page on, because something else is wanted. */
  async restart() {
    this.#pages = 1;
    await this.refresh().catch((error) => say(this.note, error.message));
  }

  async #further() {
    const asked = ++this.#asked;
    const page = await this.#load(this.#after);
    if (asked !== this.#asked) return;
    this.#pages += 1;
    const known = new Set(this.#items.map(this.#idOf));
    this.#items = [...this.#items, ...page.items.filter((item) => !known.has(this.#idOf(item)))];
    this.#shown(page);
  }

  #shown({ after, note }) {
    this.#after = after;
    keyed(this.rows, this.#items, this.#idOf, this.#row, this.#markOf);
    const none = this.#items.length ? "" : this.empty;
    say(this.note, note || (after === null ? none : ""));
    this.more.hidden = after === null;
  }
}
