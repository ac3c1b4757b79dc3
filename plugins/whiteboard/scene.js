// @ts-check
// What is on the board: a set of strokes that only grows, and a set of those undone. Strokes are drawn in the order of (time,
// author, number), and undone once somebody who may has said so. Of one number the first that came from its author counts,
// and an author's messages come in one order to everybody, so the board is the same for all. What somebody else hands
// over has that member's word only: it fills gaps, is marked, and gives way to what comes from the author.

/**
 * @typedef {object} Stroke
 * @property {string} id author and number: "ana:17"
 * @property {number} t Lamport time
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
export const STROKES_MAX = 20000;
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

export class Scene {
  /** @type {Map<string, Stroke>} */
  #strokes = new Map();
  /** @type {Set<string>} Numbers of strokes that somebody else than their author handed over. */
  #handed = new Set();
  /** @type {Set<string>} */
  #undone = new Set();
  /** @type {Stroke[] | null} */
  #order = null;
  time = 0;

  /** Adds a stroke that came from its author. @param {Stroke} stroke */
  add(stroke) {
    if (this.#strokes.has(stroke.id) && !this.#handed.delete(stroke.id)) return false;
    return this.#put(stroke);
  }

  /** Adds a stroke that somebody else handed over, where there is none. @param {Stroke} stroke */
  addHanded(stroke) {
    if (this.#strokes.has(stroke.id) || !this.#put(stroke)) return false;
    this.#handed.add(stroke.id);
    return true;
  }

  /** Whether its author did not send a stroke to us. @param {string} id */
  isHanded(id) {
    return this.#handed.has(id);
  }

  /** @param {Stroke} stroke */
  #put(stroke) {
    if (!this.#strokes.has(stroke.id) && this.#strokes.size >= STROKES_MAX) return false;
    this.#strokes.set(stroke.id, stroke);
    this.time = Math.max(this.time, stroke.t);
    this.#order = null;
    return true;
  }

  /** Undoes a stroke, also one that has not come yet. @param {string} id */
  undo(id) {
    if (this.#undone.size >= STROKES_MAX) return;
    this.#undone.add(id);
    this.#order = null;
  }

  /** What is to be drawn, in the order in which everybody draws it. @returns {Stroke[]} */
  get strokes() {
    this.#order ??= [...this.#strokes.values()].filter(({ id }) => !this.#undone.has(id))
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
