// @ts-check
// Which of one's own messages have come, and where. What others say of that is looked up, and never searched for: whatever
// one member sends, it costs a step for each fingerprint, and so many reports a second are read of each member.

import { fingerprint } from "./text.js";

/** @typedef {{text: string, expected: Set<string>, got: Set<string>}} Sent */

/** Reports of one member that are read at once, and the time for one more. */
const REPORTS_MAX = 8;
const REPORT_EVERY_MS = 200;
const FINGERPRINTS_MAX = 1000;

/** @template {Sent} T */
export class Receipts {
  /** @type {Map<string, {first: number, sent: T[]}>} Messages of one fingerprint, the oldest first; `first` is its number. */
  #sent = new Map();
  /** @type {Map<string, number>} Of a fingerprint and a member: the number of the next message that it has not reported. */
  #next = new Map();
  /** @type {Map<string, {left: number, at: number}>} */
  #budgets = new Map();

  /** A message of one's own. @param {T} message */
  add(message) {
    const print = fingerprint(message.text);
    const known = this.#sent.get(print);
    if (known) known.sent.push(message);
    else this.#sent.set(print, { first: 0, sent: [message] });
  }

  /** Forgets the oldest message with its text. @param {T} message */
  forget(message) {
    const print = fingerprint(message.text);
    const known = this.#sent.get(print);
    if (known?.sent[0] !== message) return;
    known.sent.shift();
    known.first += 1;
  }

  /** What a member says has come: gives the messages that it is news for. @param {string} from @param {unknown} got @param {number} at @returns {T[]} */
  report(from, got, at) {
    if (!Array.isArray(got) || !this.#mayReport(from, at)) return [];
    const news = [];
    for (const print of got.slice(0, FINGERPRINTS_MAX)) {
      const known = typeof print === "string" ? this.#sent.get(print) : undefined;
      if (!known) continue;
      const key = `${print} ${from}`;
      const next = Math.max(this.#next.get(key) ?? 0, known.first);
      const message = known.sent[next - known.first];
      if (!message) continue;
      this.#next.set(key, next + 1);
      if (!message.expected.has(from) || message.got.has(from)) continue;
      message.got.add(from);
      news.push(message);
    }
    return news;
  }

  /** @param {string} from @param {number} at */
  #mayReport(from, at) {
    const budget = this.#budgets.get(from) ?? { left: REPORTS_MAX, at };
    const gained = Math.max(0, Math.floor((at - budget.at) / REPORT_EVERY_MS));
    budget.left = Math.min(REPORTS_MAX, budget.left + gained);
    budget.at += gained * REPORT_EVERY_MS;
    this.#budgets.set(from, budget);
    if (budget.left === 0) return false;
    budget.left -= 1;
    return true;
  }
}
