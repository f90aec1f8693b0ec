// Asks `/api/v1`, with the token if there is one.
//
// The token is kept in sessionStorage alone. It is gone with the tab, so a shared machine does not keep it as
// localStorage would, and it travels in a header that only this page adds: a cookie would go along with whatever a
// foreign page makes the browser send (CSRF). No script but ours can read it: see the Content-Security-Policy.

const KEPT = "mcp-ilert.operator-token";
const PATIENCE_MS = 10_000;

/** The bridge answered, and said no. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  /** Whether another token, or one at all, is what it takes. */
  get unknown() {
    return this.status === 401 || (this.status === 403 && /role/.test(this.message));
  }
}

/** No answer came. */
export class Silent extends Error {
  constructor(cause) {
    super("The bridge did not answer.", { cause });
  }
}

export const token = () => sessionStorage.getItem(KEPT);
export const keepToken = (text) => sessionStorage.setItem(KEPT, text);
export const forgetToken = () => sessionStorage.removeItem(KEPT);

/** What is at this path; raises Refused or Silent. */
export function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const search = new URLSearchParams(given).toString();
  return ask(search ? `${path}?${search}` : path, {});
}

/** Have something changed; gives what came of it. */
export const post = (path, body) =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

async function ask(path, options) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  const signal = AbortSignal.timeout(PATIENCE_MS);
  let answer, body;
  try {
    answer = await fetch(`api/v1/${path}`, { ...options, headers, signal, cache: "no-store", redirect: "error" });
    body = await answer.json().catch((error) => {
      if (answer.ok) throw error;
      return {};
    });
  } catch (error) {
    throw new Silent(error);
  }
  // A proxy that finds no bridge behind it answers in its place.
  if ([502, 504].includes(answer.status)) throw new Silent(answer.status);
  if (!answer.ok) throw new Refused(answer.status, body.detail ?? `status ${answer.status}`);
  return body;
}
