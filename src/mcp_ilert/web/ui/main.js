// Puts the page together: who looks, what is shown, and what happens when the bridge does not answer.

import { forgetToken, get, keepToken, Refused, Silent, token } from "./api.js";
import { asking } from "./ask.js";
import * as dead from "./dead.js";
import * as deliveries from "./deliveries.js";
import * as digests from "./digests.js";
import { at, say } from "./dom.js";
import * as life from "./life.js";
import * as overview from "./overview.js";
import { Poller } from "./poll.js";
import * as waiting from "./waiting.js";
import { clock, lasting } from "./words.js";

const LOOK_MS = 2_000;
const LIST_MS = 5_000;
const ON_CALL_MS = 60_000;

let seen = null; // the last overview
let seenAt = 0; // when it came, on the page's own clock
let silentSince = null;
let view = null;

const context = {
  now: () => (seen === null ? Date.now() : seen.at_ms + (performance.now() - seenAt)),
  targets: () => seen.targets.map((target) => target.name),
  counts: () => seen.counts,
  frozen: () => seen.read_only !== null,
  changed: () => {
    look.soon();
    list.soon();
    return true;
  },
};

// What is polled -----------------------------------------------------------------------------------------------

const look = new Poller(async () => {
  try {
    seen = await get("overview");
  } catch (error) {
    failed(error);
    throw error;
  }
  seenAt = performance.now();
  answered();
  overview.show(seen, context.changed);
  if (at("board").hidden) enter();
}, LOOK_MS);

const list = new Poller(async () => {
  if (view !== null && silentSince === null && !asking()) await view.refresh().catch(told);
}, LIST_MS);

const onCall = new Poller(async () => {
  if (silentSince === null) overview.onCall(await get("on-call"));
}, ON_CALL_MS);

function failed(error) {
  if (error instanceof Silent) {
    silentSince ??= Date.now();
    document.body.classList.add("stale");
  } else if (error instanceof Refused && (error.unknown || error.status === 403)) {
    askToken(error);
  } else {
    answered();
    say(at("says"), `The bridge does not tell how it is: ${error.message}`);
    at("status").className = "bad";
  }
}

function told(error) {
  if (error instanceof Refused) say(at("panel").querySelector("[role=status]") ?? at("says"), error.message);
  throw error;
}

function answered() {
  if (silentSince !== null) say(at("spoken"), "The bridge answers again.");
  silentSince = null;
  document.body.classList.remove("stale");
}

// Each second, what has come of age.
setInterval(() => {
  const banner = at("silent");
  banner.hidden = silentSince === null;
  if (silentSince !== null) {
    const since = `The bridge does not answer since ${clock(silentSince)} UTC`;
    say(banner, seen === null ? `${since}; trying again.` : `${since}; what is shown is from ${clock(seen.at_ms)}. Trying again.`);
    say(at("fresh"), `silent for ${lasting(Date.now() - silentSince)}`);
  } else if (seen !== null && !at("board").hidden) {
    say(at("fresh"), `live · ${clock(context.now())} UTC`);
  }
}, 1000);

// Who looks ----------------------------------------------------------------------------------------------------

function enter() {
  at("login").hidden = true;
  at("board").hidden = false;
  at("leave").hidden = token() === null;
  route();
  list.start();
  onCall.start();
}

function askToken(error) {
  for (const poller of [look, list, onCall]) poller.stop();
  const given = token() !== null;
  forgetToken();
  view = null;
  seen = null;
  at("panel").replaceChildren();
  at("board").hidden = true;
  at("leave").hidden = true;
  at("login").hidden = !error.unknown;
  answered();
  say(at("fresh"), "");
  if (!error.unknown) say(at("says"), `The bridge does not let you look: ${error.message}.`);
  say(at("login-error"), given ? words(error) : error.status === 403 ? `${error.message}.` : "");
  at("token").focus();
}

const words = (error) =>
  error.status === 401
    ? "The bridge does not know this token."
    : "This token may send events, and nothing else. The dashboard needs one with role: operator.";

at("login").onsubmit = (event) => {
  event.preventDefault();
  const given = at("token").value.trim();
  at("token").value = "";
  say(at("login-error"), "");
  if (/[^\x21-\x7e]/.test(given)) {
    say(at("login-error"), "A token has no spaces, and no characters beyond ASCII.");
    return;
  }
  keepToken(given);
  look.start();
};

at("leave").onclick = () => {
  forgetToken();
  location.reload();
};

// What is shown ------------------------------------------------------------------------------------------------

const VIEWS = { waiting: waiting.open, digests: digests.open, dead: dead.open, deliveries: deliveries.open };

function route() {
  if (at("board").hidden) return;
  const [name, key] = location.hash.slice(1).split("/");
  if (name === "panel") return;
  const chosen = name === "key" || VIEWS[name] ? name : "waiting";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${chosen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  view = chosen === "key" ? life.open(decoded(key ?? ""), context) : VIEWS[chosen](context);
  list.soon();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody typed it
  }
}

addEventListener("hashchange", () => {
  route();
  const panel = at("panel");
  panel.focus({ preventScroll: true });
  const { top } = panel.getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.7) document.querySelector("nav").scrollIntoView();
});

at("find").onsubmit = (event) => {
  event.preventDefault();
  const key = at("find-key").value.trim();
  if (key) location.hash = `#key/${encodeURIComponent(key)}`;
};

look.start();
