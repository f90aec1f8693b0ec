// Numbers and times, as a person reads them. Times are UTC, as in the logs and in `mcp-ilert why`.

const whole = new Intl.NumberFormat("en");

/** `1,204`. */
export const number = (n) => whole.format(n);

/** `1 event`, `1,204 events`. */
export const count = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

/** A time span: `3 s`, `12 min`, `5 h`, `3 d`. */
export function lasting(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** `2026-11-24 03:31:05`. */
export function moment(ms) {
  const at = new Date(ms);
  return Number.isNaN(at.getTime()) ? "" : at.toISOString().slice(0, 19).replace("T", " ");
}

/** `03:31:05`. */
export const clock = (ms) => moment(ms).slice(11);

/** A rate, a second or a minute, whichever reads well. */
export function rate(perSecond) {
  if (perSecond >= 10) return `${number(Math.round(perSecond))} /s`;
  if (perSecond >= 1) return `${perSecond.toFixed(1)} /s`;
  return `${number(Math.round(perSecond * 60))} /min`;
}
