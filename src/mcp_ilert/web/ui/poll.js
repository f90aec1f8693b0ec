// Does something again and again while the page is looked at: later and later while it fails, not at all while hidden.

const MOST_MS = 15_000;

export class Poller {
  #act;
  #every;
  #timer = null;
  #failures = 0;
  #running = false;
  #on = false;
  #again = false;

  /** `act` is awaited; where it throws, it failed. */
  constructor(act, everyMs) {
    this.#act = act;
    this.#every = everyMs;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#rest() : this.soon()));
    addEventListener("online", () => this.soon());
  }

  start() {
    this.#on = true;
    this.soon();
  }

  stop() {
    this.#on = false;
    this.#rest();
  }

  /** When the next try is due, in ms from now. */
  get wait() {
    return Math.min(MOST_MS, this.#every * 2 ** Math.min(this.#failures, 6));
  }

  /** Now, or right after what is under way. */
  soon() {
    if (!this.#on || document.hidden) return;
    if (this.#running) this.#again = true;
    else this.#run();
  }

  #rest() {
    clearTimeout(this.#timer);
  }

  async #run() {
    clearTimeout(this.#timer);
    this.#running = true;
    this.#again = false;
    try {
      await this.#act();
      this.#failures = 0;
    } catch {
      this.#failures += 1; // who acts tells of it
    }
    this.#running = false;
    if (!this.#on || document.hidden) return;
    this.#timer = setTimeout(() => this.#run(), this.#again ? 0 : this.wait);
  }
}
