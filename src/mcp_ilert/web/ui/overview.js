// The upper half of the page: is the bridge well, its figures, its targets, who is on call.

import { pause, resume } from "./ask.js";
import { at, el, keyed, say, theirs } from "./dom.js";
import { draw, Rate } from "./rates.js";
import { count, lasting, number, rate } from "./words.js";

const TERMS = [
  ["accepted", "accepted"],
  ["fanned_out", "sent to a further target"],
  ["delivered", "delivered"],
  ["coalesced", "folded into another"],
  ["cancelled", "resolved before they were sent"],
  ["digested", "in a digest"],
  ["dropped_by_route", "dropped by a route"],
  ["dropped_by_operator", "dropped by an operator"],
  ["dead", "dead letters"],
  ["pending", "waiting"],
];
const TOLD = /^target |dead letters|the spool is full/; // notes of /readyz that the sentence and the targets tell, too
const SEVERITIES = ["critical", "high", "medium", "low"];
const accepted = new Rate();
const delivered = new Rate();
let shape = "";

/** Show what the overview says. `changed` is called when a target was paused or resumed. */
export function show(seen, changed) {
  at("status").className = seen.level;
  say(at("says"), seen.says);
  say(at("version"), seen.version);
  const more = [...seen.reasons.slice(1), ...seen.notes.filter((note) => !TOLD.test(note))];
  keyed(at("notes"), more, (text) => text, (text) => el("li", { textContent: text }));
  speak(seen.says);
  figures(seen);
  keyed(at("targets"), seen.targets.map((t) => ({ ...t, frozen: seen.read_only !== null })), (t) => t.name, (t) => target(t, changed));
  at("read-only").hidden = seen.read_only === null;
  say(at("read-only"), seen.read_only === null ? "" : `To look at only: ${seen.read_only}.`);
  document.title = `${{ good: "", note: "• ", bad: "⚠ " }[seen.level]}MCP iLert`;
}

/** Read the sentence out, but not for every figure in it that changes. */
function speak(says) {
  const now = says.replace(/[\d,.]+( ms| s| min| h| d)?/g, "#");
  if (now !== shape) say(at("spoken"), says);
  shape = now;
}

function figures({ at_ms, counts, conservation_error: lost, oldest_ms, in_flight }) {
  accepted.add(at_ms, counts.accepted);
  delivered.add(at_ms, counts.delivered);
  flow("in", accepted, counts.accepted);
  flow("out", delivered, counts.delivered);
  say(at("pending"), number(counts.pending));
  const digested = counts.members ? `, ${count(counts.members, "key")} in digests` : "";
  say(at("keys"), `events of ${count(counts.lanes, "key")}, ${number(in_flight)} on their way${digested}`);
  at("oldest").replaceChildren(
    ...SEVERITIES.flatMap((severity) => [
      el("dt", { className: `severity ${severity}`, textContent: severity }),
      el("dd", { textContent: oldest_ms[severity] === undefined ? "–" : lasting(at_ms - oldest_ms[severity]) }),
    ]),
  );
  say(at("dead"), number(counts.dead));
  say(at("dead-more"), counts.dead ? "events, kept; to be replayed or dropped" : "nothing was given up");
  at("dead").className = counts.dead ? "note" : "";
  say(at("law"), lost ? `${number(Math.abs(lost))} missing` : "adds up");
  at("law").className = lost ? "bad" : "good";
  at("terms").replaceChildren(
    ...TERMS.flatMap(([name, words]) => [el("dt", { textContent: words }), el("dd", { textContent: number(counts[name]) })]),
  );
}

function flow(id, counter, total) {
  const now = counter.now();
  say(at(id), now === null ? "–" : rate(now));
  say(at(`${id}-all`), `${number(total)} in all`);
  draw(at(`${id}-line`), counter.all());
}

function target({ name, level, says, paused, lanes, tokens, per_minute, frozen }, changed) {
  const act = async () => (await (paused ? resume(name) : pause(name))) && changed();
  const button = el("button", { type: "button", textContent: paused ? "Resume" : "Pause", onclick: act });
  button.setAttribute("aria-label", `${paused ? "Resume" : "Pause"} ${name}`);
  return el(
    "li",
    { className: level },
    el("div", { className: "head" }, el("h3", {}, el("span", { className: "dot", "aria-hidden": "true" }), theirs(name)), frozen ? null : button),
    el("p", { textContent: `${says}.` }),
    el("p", { className: "quiet", textContent: `${count(lanes, "key")} ${lanes === 1 ? "waits" : "wait"} · ${count(tokens, "request")} may leave now, ${number(Math.round(per_minute))} a minute` }),
  );
}

/** Show who is on call, where that is known. */
export function onCall({ known, policies }) {
  at("on-call").hidden = !known || !policies.length;
  keyed(at("policies"), policies, (p) => p.policy, (policy) => {
    const who = policy.on_call.map((d) => `${d.user} (level ${d.level}${d.schedule ? `, ${d.schedule}` : ""})`);
    return el("li", {}, el("span", { className: "quiet" }, theirs(policy.name || `policy ${policy.policy}`)), theirs(who.join(", ") || "nobody", who.length ? "" : "bad"));
  });
}
