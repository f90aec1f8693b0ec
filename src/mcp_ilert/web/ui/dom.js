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
 * Have `list` show `items`, in order. A node stays as long as its item does, and with it focus and open details;
 * one whose item says something else than before (by its mark) is made anew, unless it has the focus.
 */
export function keyed(list, items, idOf, make, markOf = JSON.stringify) {
  const old = new Map([...list.children].map((node) => [node.dataset.id, node]));
  const wanted = items.map((item) => {
    const id = String(idOf(item));
    const mark = markOf(item);
    const node = old.get(id);
    if (node && (node.mark === mark || node.contains(document.activeElement) || node.querySelector("details[open]"))) return node;
    const made = make(item);
    made.dataset.id = id;
    made.mark = mark;
    return made;
  });
  const unchanged = wanted.length === list.children.length && wanted.every((node, i) => node === list.children[i]);
  if (!unchanged) place(list, wanted);
}

/** Move as little as may be: a node that is moved loses its focus. */
function place(list, wanted) {
  const keep = new Set(wanted);
  for (const node of [...list.children]) if (!keep.has(node)) node.remove();
  wanted.forEach((node, i) => {
    if (list.children[i] !== node) list.insertBefore(node, list.children[i] ?? null);
  });
}
