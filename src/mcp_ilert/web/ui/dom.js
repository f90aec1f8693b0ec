// Makes elements. Whatever an event says becomes a text node, never markup: events are anybody's.

/** An element: `props` are properties (`className`, `type`, `onclick` …), `children` elements or text. */
export function el(name, props = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (key.includes("-") || key === "role" || key === "for") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** The element of this id in the page. */
export const at = (id) => document.getElementById(id);

/** Set a text, if it is another: an unchanged one stays selected, and is not read out again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Text of somebody else's making, kept from turning the direction of ours around. */
export const theirs = (text, className = "") => el("bdi", { className, textContent: text });

/** A link to the life of an alert key. */
export const keyLink = (key) => el("a", { href: `#key/${encodeURIComponent(key)}`, className: "key" }, theirs(key));

/**
 * Have `list` show `items`, in order. A node stays as long as its item does and says the same (by its mark); one that
 * takes another's place has open what that had open, and the focus if that had it.
 */
export function keyed(list, items, idOf, make, markOf = JSON.stringify) {
  const old = new Map([...list.children].map((node) => [node.dataset.id, node]));
  const focus = focused(list);
  const wanted = items.map((item) => {
    const id = String(idOf(item));
    const mark = markOf(item);
    const before = old.get(id);
    if (before?.mark === mark) return before;
    const made = make(item);
    made.dataset.id = id;
    made.mark = mark;
    if (before) openAgain(before, made);
    return made;
  });
  const unchanged = wanted.length === list.children.length && wanted.every((node, i) => node === list.children[i]);
  if (unchanged) return;
  place(list, wanted);
  if (focus !== null && !list.contains(document.activeElement)) refocus(list, focus);
}

/** Move as little as may be: a node that is moved loses its focus. */
function place(list, wanted) {
  const keep = new Set(wanted);
  for (const node of [...list.children]) if (!keep.has(node)) node.remove();
  wanted.forEach((node, i) => {
    if (list.children[i] !== node) list.insertBefore(node, list.children[i] ?? null);
  });
}

function openAgain(before, made) {
  const open = [...before.querySelectorAll("details")].map((details) => details.open);
  made.querySelectorAll("details").forEach((details, i) => (details.open = open[i] ?? false));
}

const reachable = (node) => [...node.querySelectorAll("a, button, summary, [tabindex]")];

/** Whose, and the how manyth of its controls has the focus. */
function focused(list) {
  const node = [...list.children].find((child) => child.contains(document.activeElement));
  return node ? { id: node.dataset.id, index: reachable(node).indexOf(document.activeElement) } : null;
}

/** What had it is gone: the control in its place has it, or else what is around. */
function refocus(list, { id, index }) {
  const node = [...list.children].find((child) => child.dataset.id === id);
  const next = (node && reachable(node)[index]) ?? list.closest("[tabindex]");
  next?.focus({ preventScroll: true });
}
