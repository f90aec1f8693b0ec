// Digests: one alert for many, while a storm is on.

import { get } from "./api.js";
import { el, keyLink } from "./dom.js";
import { List } from "./lists.js";
import { count } from "./words.js";

/** Open the list. */
export function open() {
  return new List({
    title: "Digests",
    hint: "In a storm, one updating alert stands for the lesser alerts of a source.",
    empty: "No digest stands for anything: no storm is on.",
    idOf: (digest) => digest.id,
    row,
    load: async () => {
      const { digests, more } = await get("digests", { limit: 50 });
      return { items: digests, after: null, note: more ? "There are more; these are the first." : "" };
    },
  });
}

function row(digest) {
  const rest = digest.members - digest.member_keys.length;
  const open = { open: "open at iLert", none: "not sent yet", closed: "resolved at iLert", unknown: "it is not known whether it is open at iLert" };
  return el(
    "li",
    {},
    el("span", { className: "badge", textContent: count(digest.members, "alert") }),
    el("div", {},
      el("p", {}, keyLink(digest.key)),
      el("p", { className: "quiet", textContent: `${digest.target} · ${open[digest.remote] ?? digest.remote}${digest.waiting.length ? " · news of it waits" : ""}` }),
      el("details", {}, el("summary", { textContent: "Its alerts" }),
        el("ul", { className: "members" }, ...digest.member_keys.map((key) => el("li", {}, keyLink(key))),
          rest > 0 ? el("li", { className: "quiet", textContent: `and ${count(rest, "other")}` }) : ""))),
  );
}
