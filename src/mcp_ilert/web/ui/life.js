// The life of one alert key, in words: how it stands, and what happened to it.

import { get, Refused } from "./api.js";
import { drop } from "./ask.js";
import { at, el, keyed, say, theirs } from "./dom.js";
import { buttons, reasons } from "./dead.js";
import { count } from "./words.js";

/** Show the life of this key. */
export function open(key, { frozen, changed }) {
  const life = new Life(key, frozen() ? null : async (doing) => (await doing) && changed());
  at("panel").replaceChildren(...life.nodes);
  return life;
}

class Life {
  #key;
  #act;
  #older = [];
  #before = null;
  #newest = [];

  constructor(key, act) {
    this.#key = key;
    this.#act = act;
    this.now = el("ul", { className: "now" });
    this.lanes = el("ul", { className: "rows" });
    this.story = el("ol", { className: "story" });
    this.note = el("p", { className: "quiet", role: "status" });
    this.more = el("button", { type: "button", hidden: true, textContent: "Show earlier", onclick: () => this.#earlier().catch((error) => say(this.note, error.message)) });
    this.nodes = [
      el("div", { className: "head" }, el("h2", { id: "panel-title", className: "key" }, theirs(key))),
      this.note,
      this.now,
      this.lanes,
      el("h3", { textContent: "What happened, newest first" }),
      this.story,
      this.more,
    ];
  }

  async refresh() {
    try {
      const found = await get("why", { key: this.#key, limit: 50 });
      this.#shown(found);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      say(this.note, "Nothing is known of this key: it never came, a route drops it, or its history is forgotten.");
      this.now.replaceChildren();
      this.lanes.replaceChildren();
    }
  }

  #shown({ history, now, lanes, before }) {
    say(this.note, "");
    keyed(this.now, now, (text) => text, (text) => el("li", {}, theirs(text)));
    keyed(this.lanes, lanes.filter((lane) => lane.waiting.length || lane.letters.length || lane.member_keys.length), (lane) => lane.id, (lane) => this.#lane(lane));
    this.#newest = history;
    if (!this.#older.length) this.#before = before;
    this.#tell();
  }

  async #earlier() {
    const { history, before } = await get("why", { key: this.#key, limit: 50, before: this.#before });
    this.#older = [...history, ...this.#older];
    this.#before = before;
    this.#tell();
  }

  #tell() {
    const known = new Map([...this.#older, ...this.#newest].map((it) => [it.id, it]));
    const lines = [...known.values()].flatMap((it) => it.says.map((line, i) => ({ ...line, id: `${it.id}.${i}`, what: i === it.says.length - 1 ? it.what : "" })));
    keyed(this.story, lines.reverse(), (line) => line.id, (line) =>
      el("li", { className: line.what }, el("time", { dateTime: new Date(line.at_ms).toISOString(), textContent: line.at }), theirs(line.says)));
    this.more.hidden = this.#before === null;
  }

  #lane(lane) {
    const rest = (lane.members ?? 0) - lane.member_keys.length;
    const events = lane.state === "dead" ? [] : lane.waiting.map((op) =>
      el("details", {}, el("summary", { textContent: `The ${op.kind} that waits (${count(op.count, "event")})` }),
        el("pre", { tabIndex: 0, textContent: JSON.stringify(op.event, null, 2) })));
    const dead = lane.letters.length || lane.state === "dead";
    const dropping = el("button", { type: "button", textContent: "Drop…", onclick: () => this.#act(drop(lane.key, lane.target)) });
    return el("li", {},
      el("span", { className: "badge", textContent: lane.state }),
      el("div", {},
        el("p", {}, theirs(lane.target)),
        ...reasons(lane),
        ...events,
        lane.member_keys.length ? el("details", {}, el("summary", { textContent: `The ${count(lane.members, "alert")} that it stands for` }),
          el("ul", { className: "members" }, ...lane.member_keys.map((key) => el("li", {}, theirs(key, "key"))),
            rest > 0 ? el("li", { className: "quiet", textContent: `and ${count(rest, "other")}` }) : "")) : "",
        this.#act === null ? "" : dead ? buttons(lane, this.#act) : el("div", { className: "line" }, dropping)));
  }
}
