// @ts-check
// What one member's clock says when another's says something else, as NTP finds it: both write when they heard what the
// other one wrote. The way there and back is taken to be equally long.

/** Measurements of one member that are kept; the one with the shortest way counts. */
const KEPT = 8;
/** Members that are kept in mind. */
const MEMBERS_MAX = 512;

/** @typedef {{at: number, heard: Record<string, [number, number]>}} Note when it was written, and what was heard when */

export class Clocks {
  /** @type {Map<string, {at: number, here: number, measured: {way: number, ahead: number}[]}>} */
  #members = new Map();

  /** @param {string} you */
  constructor(you) {
    this.you = you;
  }

  /** What to tell the others. @param {number} now @returns {Note} */
  note(now) {
    /** @type {[string, [number, number]][]} */
    const heard = [...this.#members].map(([name, { at, here }]) => [name, [at, here]]);
    return { at: now, heard: Object.fromEntries(heard) };
  }

  /** What another one told. @param {string} from @param {any} note @param {number} now */
  heard(from, note, now) {
    if (!Number.isFinite(note?.at) || (!this.#members.has(from) && this.#members.size >= MEMBERS_MAX)) return;
    const member = this.#members.get(from) ?? { at: 0, here: 0, measured: [] };
    this.#members.set(from, member);
    Object.assign(member, { at: note.at, here: now });
    const own = typeof note.heard === "object" && note.heard !== null && Object.hasOwn(note.heard, this.you) ? note.heard[this.you] : null;
    if (!Array.isArray(own) || !own.every(Number.isFinite)) return;
    const [sent, there] = own;
    const way = now - sent - (note.at - there);
    if (!(way >= -1 && way < 10000)) return;
    member.measured.push({ way, ahead: (there - sent + note.at - now) / 2 });
    if (member.measured.length > KEPT) member.measured.shift();
  }

  /** @param {string} name */
  forget(name) {
    this.#members.delete(name);
  }

  /** How far a member's clock is ahead of this one, in ms, and how far that may be wrong; null if it is not known. @param {string} name */
  ahead(name) {
    const measured = this.#members.get(name)?.measured ?? [];
    if (measured.length === 0) return null;
    const best = measured.reduce((a, b) => (b.way < a.way ? b : a));
    return { ms: best.ahead, within: Math.max(0, best.way / 2) };
  }
}

/**
 * When something that happens at an even pace happens, from when it is told of: the quickest telling of the last ones counts.
 */
export class Pace {
  /** @type {number[]} */
  #told = [];
  #next = 0;
  #least = 0;

  /** @param {number} length how long one step takes, in ms */
  constructor(length) {
    this.length = length;
  }

  /** Step `step` is told of at `now`. Returns when it was. @param {number} step @param {number} now */
  add(step, now) {
    const behind = now - step * this.length;
    // A pause, or a clock that was set.
    if (Math.abs(behind - this.#least) > 1000) this.#told = [];
    this.#told[this.#next % 250] = behind;
    this.#next = this.#told.length < 250 ? this.#told.length : this.#next + 1;
    this.#least = this.#told.reduce((a, b) => Math.min(a, b));
    return this.#least + step * this.length;
  }
}
