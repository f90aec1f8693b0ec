// Rates from what was polled, and a line of them. Kept in this page: the bridge keeps no past for it.

const KEPT = 150;
const LEAST = 20; // a line of fewer begins at the right
const SMOOTH = 3; // looks that are averaged: deliveries are paced, and would only flicker
const WINDOW_MS = 10_000;
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [150, 32];

/** The growth of one counter. */
export class Rate {
  #seen = [];

  add(atMs, total) {
    const last = this.#seen.at(-1);
    if (last && (atMs <= last.at || total < last.total)) this.#seen = atMs <= last.at ? this.#seen : [];
    if (!this.#seen.length || atMs > this.#seen.at(-1).at) this.#seen.push({ at: atMs, total });
    if (this.#seen.length > KEPT) this.#seen.shift();
  }

  /** A second, over the last ten seconds; null where too little is known. */
  now() {
    const last = this.#seen.at(-1);
    const first = this.#seen.find((seen) => last.at - seen.at <= WINDOW_MS);
    return first && first !== last ? ((last.total - first.total) * 1000) / (last.at - first.at) : null;
  }

  /** A second, at each look. */
  all() {
    return this.#seen.slice(1).map((seen, i) => {
      const before = this.#seen[Math.max(0, i + 1 - SMOOTH)];
      return ((seen.total - before.total) * 1000) / (seen.at - before.at);
    });
  }
}

/** Draw the values into an svg element, the newest at the right. */
export function draw(svg, values) {
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const most = Math.max(...values, 1e-9);
  const x = (i) => WIDTH - (values.length - 1 - i) * (WIDTH / (Math.max(LEAST, values.length) - 1));
  const y = (value) => HEIGHT - 2 - (value / most) * (HEIGHT - 4);
  const points = values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`);
  const line = svg.firstChild ?? svg.appendChild(document.createElementNS(SVG, "polyline"));
  line.setAttribute("points", points.join(" "));
}
