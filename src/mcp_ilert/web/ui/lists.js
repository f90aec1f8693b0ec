// What all lists have in common: a title, rows that stay where they are, more on demand, and a word where there is none.

import { at, el, keyed, say } from "./dom.js";

/** A list in the panel. `load(after)` gives `{items, after, note, goOn}`, `goOn`: the next page is asked for by itself; `row` makes a node of an item. */
export class List {
  #load;
  #row;
  #idOf;
  #markOf;
  #items = [];
  #after = null;
  #pages = 1;
  #asked = 0;
  #going = false; // by itself, page after page

  constructor({ title, actions = [], empty, load, row, idOf, markOf, hint = "" }) {
    this.#load = load;
    this.#row = row;
    this.#idOf = idOf;
    this.#markOf = markOf;
    this.empty = empty;
    this.rows = el("ul", { className: "rows" });
    this.note = el("p", { className: "quiet", role: "status" });
    this.more = el("button", { type: "button", hidden: true, textContent: "Show more", onclick: () => this.#pressed() });
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
    if (this.#pages > 1 || this.#going) return;
    const asked = ++this.#asked;
    const page = await this.#load(null);
    if (asked !== this.#asked) return; // something newer was asked meanwhile
    this.#items = page.items;
    this.#shown(page);
  }

  /** From the first page on, because something else is wanted. */
  async restart() {
    this.#pages = 1;
    this.#going = false;
    await this.refresh().catch((error) => say(this.note, error.message));
  }

  #pressed() {
    if (this.#going) {
      this.#going = false;
      this.#asked += 1; // what is on its way is not waited for
      this.more.textContent = "Go on";
    } else this.#further().catch((error) => say(this.note, error.message));
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

  #shown({ after, note, goOn = false }) {
    this.#after = after;
    keyed(this.rows, this.#items, this.#idOf, this.#row, this.#markOf);
    const none = this.#items.length ? "" : this.empty;
    say(this.note, note || (after === null ? none : ""));
    this.more.hidden = after === null;
    this.#going = goOn && after !== null && this.rows.isConnected;
    this.more.textContent = this.#going ? "Stop" : "Show more";
    if (!this.#going) return;
    this.#further().catch((error) => {
      this.#going = false;
      this.more.textContent = "Go on";
      say(this.note, error.message);
    });
  }
}
