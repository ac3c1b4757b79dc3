// @ts-check
// How loud it is. Levels are in dBFS: 0 is the loudest there is.

/** What counts as silence. */
export const SILENCE_DB = -90;
/** The quiet end of a meter. */
const METER_FROM_DB = -60;
/** How fast a meter falls. */
const FALL_DB_PER_S = 40;

/** @param {ArrayLike<number>} samples @returns {number} root of the mean square */
export function rms(samples) {
  let sum = 0;
  for (let i = 0; i < samples.length; i += 1) sum += samples[i] * samples[i];
  return samples.length ? Math.sqrt(sum / samples.length) : 0;
}

/** @param {number} amplitude */
export function decibel(amplitude) {
  return amplitude > 0 ? Math.max(SILENCE_DB, 20 * Math.log10(amplitude)) : SILENCE_DB;
}

/** A meter that rises at once and falls slowly, so that an eye can follow. */
export class Meter {
  #db = SILENCE_DB;
  #at = 0;

  /** @param {number} db @param {number} now in ms */
  add(db, now) {
    this.#db = Math.max(db, this.#fallen(now));
    this.#at = now;
  }

  /** From 0 to 1. @param {number} now in ms */
  shown(now) {
    return Math.min(1, Math.max(0, 1 - this.#fallen(now) / METER_FROM_DB));
  }

  /** @param {number} now */
  #fallen(now) {
    return Math.max(SILENCE_DB, this.#db - (Math.max(0, now - this.#at) * FALL_DB_PER_S) / 1000);
  }
}

/** The level of the background: the quietest of the last blocks. */
export class Background {
  /** @type {number[]} */
  #blocks = [];
  #next = 0;

  /** @param {number} amplitude of a block of 20 ms */
  add(amplitude) {
    this.#blocks[this.#next] = amplitude;
    this.#next = (this.#next + 1) % 150;
  }

  get amplitude() {
    return this.#blocks.length ? Math.min(...this.#blocks) : 0;
  }
}
