// Asks before something is changed, does it, and says what came of it.

import { post, Silent } from "./api.js";
import { at, el, say } from "./dom.js";
import { count } from "./words.js";

const dialog = at("ask");
let answered = () => {};

at("ask-no").onclick = () => dialog.close();
dialog.onclose = () => answered(null);

/**
 * Ask whether to do this; `texts` say what it means. Gives what `act` gave, or null where it was not wanted.
 * A failure is told in the dialog, which stays.
 */
export function ask({ title, texts, verb, danger = false }, act) {
  say(at("ask-title"), title);
  at("ask-text").replaceChildren(...texts.map((text) => el("p", {}, ...[text].flat())));
  say(at("ask-error"), "");
  const yes = at("ask-yes");
  say(yes, verb);
  yes.className = danger ? "danger" : "primary";
  yes.disabled = false;
  return new Promise((resolve) => {
    answered = resolve;
    yes.onclick = async () => {
      yes.disabled = true;
      try {
        const result = await act();
        answered = () => {};
        dialog.close();
        resolve(result);
      } catch (error) {
        say(at("ask-error"), failure(error));
        yes.disabled = false;
      }
    };
    dialog.showModal();
    at("ask-no").focus(); // so that Enter alone changes nothing
  });
}

/** Whether somebody is being asked. */
export const asking = () => dialog.open;

/** What went wrong, in words. */
export const failure = (error) =>
  error instanceof Silent ? "The bridge did not answer: it is not known whether this was done." : `Not done: ${error.message}`;

/** Tell of something that was done. */
export function tell(text) {
  const toast = at("done");
  toast.textContent = text;
  toast.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => toast.classList.remove("shown"), 6000);
}

/** Change something that needs no question. */
export async function change(path, body, words) {
  try {
    const answer = await post(path, body);
    tell(words(answer));
    return true;
  } catch (error) {
    tell(failure(error));
    return false;
  }
}

/** Send dead letters of a key again. */
export const replay = (key) =>
  change("replay", { keys: [key] }, ({ events }) =>
    events ? `${count(events, "event")} of ${key} will be sent again.` : `Nothing of ${key} can be replayed.`);

/** Send all dead letters again, but those that are superseded. */
export async function replayAll(events) {
  const done = await ask(
    {
      title: "Replay all dead letters?",
      texts: [
        `${count(events, "event")} ${events === 1 ? "is" : "are"} dead. They go back to where they wait, and are sent at the pace of the key, critical first.`,
        "What is superseded, because something newer of its key was delivered since, is left out.",
      ],
      verb: "Replay all",
    },
    () => post("replay", { keys: null }),
  );
  if (done) tell(`${count(done.events, "event")} will be sent again.`);
  return done !== null;
}

/** Send a superseded letter, after saying what that means. */
export async function force(key) {
  const done = await ask(
    {
      title: "Send old news?",
      texts: [
        [el("bdi", { className: "key", textContent: key })],
        "Something newer of this key was delivered since, or may have been. Sent now, the old letter reaches iLert after it: it can open an alert again that is resolved and page somebody, or resolve one that is still burning.",
        "This cannot be taken back. What it says is in its event, below its key.",
      ],
      verb: "Send it all the same",
      danger: true,
    },
    () => post("replay", { keys: [key], force: true }),
  );
  if (done) tell(`${count(done.events, "event")} of ${key} will be sent again.`);
  return done !== null;
}

/** Drop what waits or is dead of a key at a target. */
export async function drop(key, target) {
  const done = await ask(
    {
      title: "Drop it?",
      texts: [
        [el("bdi", { className: "key", textContent: key }), " at ", el("bdi", { textContent: target })],
        "All that waits or is dead of this key there is given up: it is never sent to iLert, and cannot be brought back. It is counted as dropped by an operator.",
        "What is on its way just now is sent all the same. An alert that iLert has open stays open there.",
      ],
      verb: "Drop it",
      danger: true,
    },
    () => post("drop", { key, target }),
  );
  if (done) tell(`${count(done.events, "event")} of ${key} dropped.`);
  return done !== null;
}

/** Stop sending to a target. */
export async function pause(target) {
  const done = await ask(
    {
      title: "Pause the target?",
      texts: [
        [el("bdi", { textContent: target })],
        "Nothing more is sent there, critical events neither, until somebody resumes it; a restart changes nothing of that. Events are accepted and kept.",
      ],
      verb: "Pause it",
      danger: true,
    },
    () => post("pause", { target }),
  );
  if (done) tell(`${target} is paused.`);
  return done !== null;
}

/** Send to a target again. */
export const resume = (target) => change("resume", { target }, () => `${target} is resumed.`);
