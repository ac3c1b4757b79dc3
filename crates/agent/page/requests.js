// @ts-check
// Asking the operators to expel somebody. A member cannot put another one out: everybody sees who asks and why, and the
// operators of f+1 leaders decide.

import { byId, element, plain } from "./dom.js";
import { voteOn } from "./motions.js";

/** @typedef {import("./connection.js").Connection} Connection */

const TOPIC = "ringfort/expel";
const NAME = /^[a-z0-9._-]{1,64}$/;
const WHY_CHARS_MAX = 300;
/** What one member may ask at once, and the time for one more. */
const ASKS_MAX = 4;
const ASK_EVERY_MS = 60000;

export class Requests {
  /** Who is to be expelled, by whom, and why. @type {Map<string, Map<string, string>>} */
  #asked = new Map();
  /** Who is here, as the records tell it. @type {Set<string>} */
  #here = new Set();
  /** @type {Map<string, {left: number, at: number}>} */
  #budgets = new Map();
  #you = "";
  #needed = 0;
  #member = "";
  #vote = false;

  /** @param {Connection} connection @param {() => void} changed @param {() => string[]} members */
  constructor(connection, changed, members) {
    this.connection = connection;
    this.changed = changed;
    this.members = members;
    this.dialog = /** @type {HTMLDialogElement} */ (byId("member-dialog"));
    byId("member-ask").addEventListener("click", () => this.#ask());
    byId("member-vote").addEventListener("click", () => this.#letVote());
  }

  clear() {
    this.#asked.clear();
    this.#here.clear();
    this.#budgets.clear();
  }

  /** @param {string} you @param {number} needed operators @param {boolean} vote whether members may vote one out */
  welcome(you, needed, vote) {
    this.#vote = vote;
    this.#you = you;
    this.#needed = needed;
  }

  /** Whether anybody asks. @param {string} member */
  has(member) {
    return this.#asked.has(member);
  }

  /** What a record asks, in words, or null. @param {any} record @returns {string | null} */
  take(record) {
    if (record.kind === "view") {
      for (const user of record.joined) this.#here.add(user);
      for (const { user } of record.left) {
        this.#here.delete(user);
        this.#asked.delete(user);
      }
      return null;
    }
    if (record.kind !== "message" || record.topic !== TOPIC || record.to.length > 0) return null;
    let what;
    try {
      what = JSON.parse(record.text);
    } catch {
      return null;
    }
    if (typeof what?.user !== "string" || !NAME.test(what.user) || typeof what.why !== "string") return null;
    // Only about who is here, nothing twice, and so many of each member: the rest would be somebody's noise.
    if (!this.#here.has(what.user) && !this.members().includes(what.user)) return null;
    const why = plain(what.why.slice(0, WHY_CHARS_MAX));
    const by = this.#asked.get(what.user) ?? new Map();
    const budget = this.#budget(record.from, record.at_ms);
    if (by.get(record.from) === why || budget.left === 0) return null;
    budget.left -= 1;
    this.#asked.set(what.user, by.set(record.from, why));
    if (this.dialog.open) this.#show();
    this.changed();
    return `${record.from === this.#you ? "You ask" : `${record.from} asks`} the operators to expel ${what.user === this.#you ? "you" : what.user}: \u201c${why}\u201d`;
  }

  /** What a member may still ask. @param {string} from @param {number} at */
  #budget(from, at) {
    const budget = this.#budgets.get(from) ?? { left: ASKS_MAX, at };
    const gained = Math.max(0, Math.floor((at - budget.at) / ASK_EVERY_MS));
    budget.left = Math.min(ASKS_MAX, budget.left + gained);
    budget.at += gained * ASK_EVERY_MS;
    this.#budgets.set(from, budget);
    return budget;
  }

  /** Shows what there is about a member. @param {string} member */
  open(member) {
    this.#member = member;
    /** @type {HTMLInputElement} */ (byId("member-why")).value = "";
    byId("member-error").hidden = true;
    this.#show();
    this.dialog.showModal();
  }

  #show() {
    const member = this.#member;
    const own = member === this.#you;
    byId("member-title").textContent = own ? `${member} (you)` : member;
    const asked = [...(this.#asked.get(member) ?? [])];
    byId("member-asked").hidden = asked.length === 0;
    byId("member-asked").replaceChildren(...asked.map(([by, why]) =>
      element("li", {}, element("strong", {}, by === this.#you ? "You" : by), ` asked to expel ${own ? "you" : "this member"}: \u201c${why}\u201d`)));
    byId("member-form").hidden = own;
    byId("member-operators").hidden = own;
    byId("member-vote").hidden = !this.#vote;
    byId("member-need").textContent = `At least ${this.#needed} operators must run it, each on their own leader:`;
    byId("member-command").textContent = `ringfort expel leader-N ${member}`;
  }

  async #letVote() {
    const why = await voteOn(this.connection, { motion: "expel", user: this.#member, vote: true });
    const error = byId("member-error");
    error.hidden = why === null;
    error.textContent = why ?? "";
    if (why === null) this.dialog.close();
  }

  async #ask() {
    const field = /** @type {HTMLInputElement} */ (byId("member-why"));
    const why = field.value.trim();
    const error = byId("member-error");
    error.hidden = why !== "";
    error.textContent = "Say why: the operators have nothing else to go by.";
    if (!why) return field.focus();
    if (this.#budget(this.#you, Date.now()).left === 0) {
      error.hidden = false;
      error.textContent = "Not sent: you have asked several times. Nobody would be shown it; wait a minute.";
      return;
    }
    try {
      const text = JSON.stringify({ user: this.#member, why: why.slice(0, WHY_CHARS_MAX) });
      await this.connection.ask({ type: "send", topic: TOPIC, text });
      field.value = "";
    } catch (failed) {
      error.hidden = false;
      error.textContent = `Not sent: ${failed instanceof Error ? failed.message : "it failed"}.`;
    }
  }
}
