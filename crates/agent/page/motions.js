// @ts-check
// What the leaders ask the members: whom to let in, whom to send away. Each leader counts the votes itself.

import { byId, element } from "./dom.js";

/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {{motion: "admit" | "expel", user: string, vote: boolean | null}} Motion */

const WORDS = { admit: ["asks to join.", "Let in", "Refuse"], expel: ["is to be expelled, if the members agree. Your vote?", "Expel", "Keep"] };

/**
 * @param {Motion[]} motions @param {string} you @param {Connection} connection
 */
export function showMotions(motions, you, connection) {
  const list = byId("motions");
  list.hidden = motions.length === 0;
  const drawn = JSON.stringify(motions);
  if (list.dataset.drawn === drawn) return;
  list.dataset.drawn = drawn;
  list.replaceChildren(...motions.map(({ motion, user, vote }) => {
    const [what, yes, no] = WORDS[motion];
    const button = (/** @type {string} */ label, /** @type {boolean} */ answer) => {
      const made = element("button", { type: "button", class: "quiet", "aria-pressed": String(vote === answer) }, label);
      made.addEventListener("click", () => voteOn(connection, { motion, user, vote: answer }));
      return made;
    };
    const buttons = user === you ? [] : [button(yes, true), button(no, false)];
    return element("li", {}, element("span", {}, element("strong", {}, user === you ? "You" : user), ` ${user === you ? "are to be expelled, if the members agree." : what}`), ...buttons);
  }));
}

/**
 * Votes; the outcome of the vote shows itself. @param {Connection} connection @param {Motion} motion
 * @returns {Promise<string | null>} why it was not sent
 */
export async function voteOn(connection, { motion, user, vote }) {
  try {
    await connection.ask({ type: "vote", motion, user, yes: vote });
    return null;
  } catch (failed) {
    return `Not sent: ${failed instanceof Error ? failed.message : "it failed"}.`;
  }
}
