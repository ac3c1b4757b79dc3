// @ts-check
// What is on the board: strokes, and the numbers of those undone. Strokes are drawn in the order of (time,
// author, number), and undone once their author has said so. Of one number the first that came from its author counts,
// and an author's messages come in one order to everybody, so the board is the same for all. What somebody else hands
// over has that member's word only: it fills gaps, is marked, and gives way to what comes from the author.
//
// The time of a stroke is that of its author's clock, and later than all that the author has seen. Nobody moves it further: a
// stroke that claims a later time than AHEAD_MS after it came is of that time. What is kept has a bound, and who holds most of
// it makes room, with its oldest: nobody fills the board for the others.

/**
 * @typedef {object} Stroke
 * @property {string} id author and number: "ana:17"
 * @property {number} t milliseconds since 1970, or a little later
 * @property {"pen" | "line" | "box" | "round" | "text" | "eraser"} kind
 * @property {number} color an index into COLORS
 * @property {number} width
 * @property {number[]} points x, y, x, y …
 * @property {string} text of a text, or ""
 */

export const KINDS = ["pen", "line", "box", "round", "text", "eraser"];
export const COLORS = ["ink", "#d0342c", "#e08a00", "#2e8b57", "#2467c9", "#8a45b8"];
export const POINTS_MAX = 4000;
export const TEXT_MAX = 500;
/** What the board holds, in points; a stroke counts as STROKE_WEIGHT points and those that it has. */
export const WEIGHT_MAX = 500000;
/** Undone strokes of one member that are remembered. */
const UNDONE_MAX = 5000;
/** How far a stroke may be ahead of the clock of whoever it comes to. */
export const AHEAD_MS = 10000;
const STROKE_WEIGHT = 25;
const EDGE = 100000;

/** Whose stroke it is. @param {string} id */
export const author = (id) => id.split(":")[0];

/** A stroke that somebody sent, or null if it is none. @param {any} raw @param {(id: string) => boolean} may @returns {Stroke | null} */
export function parse(raw, may) {
  if (raw === null || typeof raw !== "object") return null;
  const { id, t, kind, color, width, points, text } = raw;
  const number = (/** @type {any} */ x) => typeof x === "number" && Number.isFinite(x) && Math.abs(x) <= EDGE;
  const sound = typeof id === "string" && id.length <= 60 && /^[^:]+:[a-z0-9-]+$/.test(id) && may(id)
    && Number.isSafeInteger(t) && t >= 0 && t < 2 ** 50 && KINDS.includes(kind)
    && Number.isInteger(color) && color >= 0 && color < COLORS.length && number(width) && width > 0 && width <= 100
    && Array.isArray(points) && points.length >= 2 && points.length % 2 === 0 && points.length <= 2 * POINTS_MAX && points.every(number)
    && typeof text === "string" && text.length <= TEXT_MAX;
  return sound ? { id, t, kind, color, width, points, text } : null;
}

/** @param {Stroke} stroke */
const weightOf = ({ points, text }) => STROKE_WEIGHT + points.length / 2 + text.length;

export class Scene {
  /** What each member answers for: its own strokes and what it has handed over, in the order in which they came. @type {Map<string, {weight: number, strokes: Map<string, Stroke>}>} */
  #held = new Map();
  /** Who answers for a stroke. @type {Map<string, string>} */
  #holders = new Map();
  /** @type {Set<string>} Numbers of strokes that somebody else than their author handed over. */
  #handed = new Set();
  /** @type {Map<string, Set<string>>} By author. */
  #undone = new Map();
  #weight = 0;
  /** @type {Stroke[] | null} */
  #order = null;
  /** No stroke is later. */
  time = 0;
  /** Whose oldest strokes had to make room. @type {Set<string>} */
  crowded = new Set();

  /** The time of a stroke that begins now. */
  next(now = Date.now()) {
    return Math.max(now, this.time + 1);
  }

  /** Adds a stroke that came from its author. @param {Stroke} stroke @param {number} [at] when it came */
  add(stroke, at = Date.now()) {
    const known = this.#holders.has(stroke.id);
    if (this.#isUndone(stroke.id) || (known && !this.#handed.has(stroke.id))) return false;
    if (known) this.#drop(stroke.id);
    this.#put(stroke, author(stroke.id), at);
    return true;
  }

  /** Adds a stroke that `by` handed over, where there is none. @param {Stroke} stroke @param {string} [by] @param {number} [at] when it came */
  addHanded(stroke, by = "", at = Date.now()) {
    if (this.#isUndone(stroke.id) || this.#holders.has(stroke.id)) return false;
    this.#handed.add(stroke.id);
    this.#put(stroke, by, at);
    return this.#holders.has(stroke.id);
  }

  /** Whether its author did not send a stroke to us. @param {string} id */
  isHanded(id) {
    return this.#handed.has(id);
  }

  /** @param {Stroke} stroke @param {string} holder @param {number} at */
  #put(stroke, holder, at) {
    const t = Math.min(stroke.t, at + AHEAD_MS);
    const held = this.#held.get(holder) ?? { weight: 0, strokes: new Map() };
    this.#held.set(holder, held);
    held.strokes.set(stroke.id, { ...stroke, t });
    this.#holders.set(stroke.id, holder);
    held.weight += weightOf(stroke);
    this.#weight += weightOf(stroke);
    this.time = Math.max(this.time, t);
    this.#order = null;
    while (this.#weight > WEIGHT_MAX) this.#makeRoom();
  }

  /** @param {string} id */
  #drop(id) {
    const holder = this.#holders.get(id) ?? "";
    const held = this.#held.get(holder);
    const stroke = held?.strokes.get(id);
    if (!held || !stroke) return;
    held.strokes.delete(id);
    held.weight -= weightOf(stroke);
    this.#weight -= weightOf(stroke);
    this.#holders.delete(id);
    this.#handed.delete(id);
    if (held.strokes.size === 0) this.#held.delete(holder);
    this.#order = null;
  }

  /** The oldest stroke of whoever holds most goes. */
  #makeRoom() {
    let [most, whose] = [0, ""];
    for (const [holder, { weight }] of this.#held) if (weight > most) [most, whose] = [weight, holder];
    for (const id of this.#held.get(whose)?.strokes.keys() ?? []) {
      this.#drop(id);
      break;
    }
    this.crowded.add(whose);
  }

  /** Undoes a stroke for its author, also one that has not come yet. @param {string} id */
  undo(id) {
    const undone = this.#undone.get(author(id)) ?? new Set();
    this.#undone.set(author(id), undone.add(id));
    // What is forgotten here is gone from the board, too: at most a handed copy of it could come again.
    for (const oldest of undone) {
      if (undone.size <= UNDONE_MAX) break;
      undone.delete(oldest);
    }
    this.#drop(id);
  }

  /** @param {string} id */
  #isUndone(id) {
    return this.#undone.get(author(id))?.has(id) ?? false;
  }

  /** What is to be drawn, in the order in which everybody draws it. @returns {Stroke[]} */
  get strokes() {
    this.#order ??= [...this.#held.values()].flatMap(({ strokes }) => [...strokes.values()])
      .sort((a, b) => a.t - b.t || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
    return this.#order;
  }

  /** The newest stroke of somebody. @param {string} who */
  lastOf(who) {
    return [...this.strokes].reverse().find(({ id }) => author(id) === who);
  }

  /** The same text at everybody who has the same board. */
  get digest() {
    return JSON.stringify(this.strokes);
  }
}
