// Dead letters: what was given up, why, and what can be done about it.

import { get } from "./api.js";
import { drop, force, replay, replayAll } from "./ask.js";
import { el, keyLink, theirs } from "./dom.js";
import { List } from "./lists.js";
import { count, moment } from "./words.js";

const LIMIT = 25;
const KEPT_MS = 60_000;

/** Open the list. `counts()` are the bridge's; `frozen()` says whether nothing may be changed. */
export function open({ counts, frozen, changed }) {
  const act = async (doing) => {
    if (!(await doing)) return;
    last = null;
    changed();
  };
  const all = el("button", { type: "button", textContent: "Replay all…", onclick: () => act(replayAll(counts().dead)) });
  let last = null; // the first page: it holds whole events, and is asked for again only where something was counted since
  return new List({
    title: "Dead letters",
    empty: "There are no dead letters.",
    actions: frozen() ? [] : [all],
    idOf: (lane) => lane.id,
    row: (lane) => row(lane, frozen() ? null : act),
    load: async (after) => {
      const mark = JSON.stringify(counts());
      if (after === null && last?.mark === mark && performance.now() - last.at < KEPT_MS) return last.page;
      const found = await get("dead", { limit: LIMIT, after });
      const page = { items: found.lanes, after: found.after };
      if (after === null) last = { mark, page, at: performance.now() };
      return page;
    },
  });
}

function row(lane, act) {
  return el(
    "li",
    {},
    el("span", { className: `severity ${lane.letters[0]?.severity ?? lane.severity}`, textContent: lane.letters[0]?.severity ?? lane.severity }),
    el("div", {},
      el("p", {}, keyLink(lane.key), el("span", { className: "quiet" }, " → ", theirs(lane.target))),
      ...reasons(lane),
      act === null ? "" : buttons(lane, act)),
  );
}

/** Why each letter of a lane is dead, with its event. */
export function reasons(lane) {
  const outage = lane.state === "dead"
    ? lane.waiting.map((op) => letter(op, "outage", "iLert did not answer; it comes back by itself once it does"))
    : [];
  const rejected = lane.letters.map((found) =>
    letter(found, found.superseded ? "superseded" : "rejected",
      `iLert answered ${found.status} at ${moment(found.at_ms)}: ${found.detail}`,
      found.correlation_id ? `correlation id ${found.correlation_id}` : ""));
  return [...outage, ...rejected];
}

const MEANS = {
  outage: "dead by an outage",
  rejected: "rejected",
  superseded: "superseded",
};

function letter(op, kind, why, more = "") {
  const summary = op.event?.summary ?? "";
  return el("div", { className: "letter" },
    summary ? el("p", { className: "summary" }, theirs(summary)) : "",
    el("p", {}, el("span", { className: `badge ${kind}`, textContent: MEANS[kind] }), " ", theirs(why)),
    kind === "superseded" ? el("p", { className: "quiet", textContent: "Something newer of this key was delivered since, so a replay leaves it out." }) : "",
    el("p", { className: "quiet", textContent: [`${op.kind} of ${count(op.count, "event")}`, `since ${moment(op.first_ms)}`, more].filter(Boolean).join(" · ") }),
    el("details", {}, el("summary", { textContent: "Its event" }), el("pre", { tabIndex: 0, textContent: JSON.stringify(op.event, null, 2) })));
}

/** What may be done about a lane with dead letters. */
export function buttons(lane, act) {
  const alive = lane.state === "dead" || lane.letters.some((found) => !found.superseded);
  const old = lane.letters.some((found) => found.superseded);
  const button = (text, label, onclick) => {
    const made = el("button", { type: "button", textContent: text, onclick });
    made.setAttribute("aria-label", `${label} ${lane.key}`);
    return made;
  };
  return el("div", { className: "line" },
    alive ? button("Replay", "Replay", () => act(replay(lane.key))) : "",
    old ? button("Send old news…", "Send the superseded letter of", () => act(force(lane.key))) : "",
    button("Drop…", "Drop", () => act(drop(lane.key, lane.target))));
}
