// The last attempts at iLert, and what came of them.

import { get } from "./api.js";
import { el, keyLink, theirs } from "./dom.js";
import { List } from "./lists.js";
import { count, moment } from "./words.js";

const ENDS = {
  delivered: "delivered",
  again: "tried again later",
  dead_by_outage: "dead by an outage",
  dead_by_rejection: "rejected",
  interrupted: "interrupted",
};

/** Open the list. */
export function open() {
  return new List({
    title: "Last attempts",
    empty: "Nothing was sent yet, or its history is forgotten (history.keep_days).",
    idOf: (sent) => sent.happened.id,
    row,
    load: async (before) => {
      const page = await get("deliveries", { limit: 30, before });
      return { items: page.attempts, after: page.before ?? null };
    },
  });
}

function row({ key, happened: it }) {
  const folded = it.events > 1 ? ` of ${count(it.events, "event")}` : "";
  return el(
    "li",
    {},
    el("span", { className: `badge ${it.what}`, textContent: ENDS[it.what] ?? it.what }),
    el("div", {},
      el("p", {}, keyLink(key), el("span", { className: "quiet", textContent: ` ${moment(it.at_ms)}` })),
      it.summary ? el("p", { className: "summary" }, theirs(it.summary)) : "",
      el("p", { className: "quiet" }, `${it.kind}${folded}, ${it.severity} → `, theirs(it.target), " · ", theirs(it.says.at(-1)?.says ?? ""))),
  );
}
