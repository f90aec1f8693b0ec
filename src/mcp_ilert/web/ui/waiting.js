// Lanes in which something waits, the most urgent first.

import { get } from "./api.js";
import { el, keyLink, theirs } from "./dom.js";
import { List } from "./lists.js";
import { count, lasting, moment, number } from "./words.js";

const LIMIT = 50;
const SEVERITIES = ["critical", "high", "medium", "low"];

const wanted = { key: "", severity: "", target: "" }; // stays when somebody looks into a key and comes back

/** Open the list. `now()` is the bridge's clock, `targets()` names the targets. */
export function open({ now, targets }) {
  let timer = null;
  let far = null; // how far a search has come
  const list = new List({
    title: "Waiting",
    empty: "Nothing waits.",
    actions: [filters(targets(), () => {
      clearTimeout(timer);
      timer = setTimeout(() => list.restart(), 250);
    })],
    idOf: (lane) => `${lane.target} ${lane.key}`,
    markOf: (lane) => JSON.stringify(lane) + lasting(now() - lane.first_ms),
    row: (lane) => row(lane, now()),
    load: async (after) => {
      if (after === null) far = { pages: new Map(), enough: LIMIT };
      const { pages } = far;
      if (sum(pages, (page) => page.lanes.length) >= far.enough) far.enough += LIMIT; // asked for by hand
      const page = await get("waiting", { ...wanted, limit: LIMIT, after });
      pages.set(after, page);
      const found = sum(pages, (one) => one.lanes.length);
      const none = !found && (wanted.key || wanted.severity || wanted.target) && page.after === null && "Nothing that waits matches.";
      const most = wanted.severity ? "at most " : "";
      const note = wanted.key && page.after !== null ? `Searched ${number(sum(pages, (one) => one.looked))} of ${most}${number(page.of)} keys.` : none;
      return { items: page.lanes, after: page.after, note, goOn: Boolean(wanted.key) && found < far.enough };
    },
  });
  return list;
}

const sum = (pages, of) => [...pages.values()].reduce((total, page) => total + of(page), 0);

function filters(targets, changed) {
  const choose = (name, label, choices) =>
    el(
      "label",
      {},
      `${label} `,
      el("select", { onchange: ({ target }) => ((wanted[name] = target.value), changed()) },
        el("option", { value: "", textContent: "all" }),
        ...choices.map((choice) => el("option", { value: choice, textContent: choice, selected: choice === wanted[name] }))),
    );
  return el(
    "form",
    { className: "filters", onsubmit: (event) => event.preventDefault() },
    el("label", {}, "Key ", el("input", { type: "search", placeholder: "a part of it", autocomplete: "off", spellcheck: false, value: wanted.key,
      oninput: ({ target }) => ((wanted.key = target.value.trim()), changed()) })),
    choose("severity", "Severity", SEVERITIES),
    choose("target", "Target", targets),
  );
}

function row(lane, now) {
  const folded = lane.count > 1 ? ` of ${count(lane.count, "event")}` : "";
  const what = lane.members === null ? `${lane.kinds.join(", then ")}${folded}` : `digest for ${count(lane.members, "alert")}`;
  const facts = `${what} · since ${moment(lane.first_ms)} (${lasting(now - lane.first_ms)})`;
  return el(
    "li",
    {},
    el("span", { className: `severity ${lane.severity}`, textContent: lane.severity }),
    el("div", {},
      el("p", {}, keyLink(lane.key), lane.state === "leased" ? el("span", { className: "badge", textContent: "on its way" }) : ""),
      lane.summary ? el("p", { className: "summary" }, theirs(lane.summary)) : "",
      el("p", { className: "quiet" }, theirs(lane.source), lane.source ? " → " : "", theirs(lane.target), ` · ${facts}`),
      waits(lane)),
  );
}

/** What it waits for, where that is something else than its turn. */
function waits(lane) {
  const prefix = `at ${lane.target}: `;
  const said = lane.says.map((text) => (text.startsWith(prefix) ? text.slice(prefix.length) : text));
  const telling = said.find((text) => / waits/.test(text) && !/for its turn/.test(text));
  return telling ? el("p", { className: "quiet" }, theirs(telling.replace(/^.*?\) /, ""))) : "";
}
