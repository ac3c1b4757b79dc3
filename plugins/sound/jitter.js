// @ts-check
// The jitter buffer of one speaker. Frames come when the network pleases; sound goes out evenly. Times are samples of
// 48 kHz on the listener's clock; a slot is the place of a frame on the speaker's. No clock is read here.

import { Concealer, longer, shorter } from "./conceal.js";
import { Background, rms } from "./level.js";
import { DRIFT_MAX, Resampler } from "./resample.js";

/** Samples of one frame: 20 ms. */
export const FRAME = 960;
const MS = 48;
/** The delay that is aimed at, between these. */
export const DELAY_MIN = 40 * MS;
export const DELAY_MAX = 200 * MS;
/** Above what most frames need. */
const MARGIN = 10 * MS;
/** Of a hundred frames, so many come in time. */
const IN_TIME = 0.97;
/** Arrivals that are looked at: 10 s of speech. */
const ARRIVALS = 500;
/** When as many in a row come later than all before, by more than this, the way has become longer. */
const SHIFT_AFTER = 25;
const SHIFT = 100 * MS;
/** Frames that wait; more is a speaker that does not keep time. */
const FRAMES_MAX = 100;
/** What comes later than this is left out if there is something after it. */
const LATE_MAX = 80 * MS;
/** A delay that is so far off is mended by a period at once, a smaller one by speed. */
const OFF = 25 * MS;
/** How much was concealed when a new block of concealment is made. */
const STEP = 480;
/** The longest pause that is waited for without concealment. */
const PAUSE = 240;
/** Background noise goes on in pauses of a speaker, at most so loud and so long. */
const COMFORT_MAX = 0.003;
const COMFORT_LONG = 48000;

/** How long frames were on their way, apart from what is the same for all. */
export class Arrivals {
  /** @type {number[]} */
  #transits = [];
  #base = 0;
  #target = DELAY_MIN;
  #count = 0;

  /** When a frame would have come without any delay. @param {number} slot */
  earliest(slot) {
    return this.#base + slot * FRAME;
  }

  /** How long after that it should be played. */
  get target() {
    return this.#target;
  }

  /** @param {number} slot @param {number} now */
  add(slot, now) {
    const transit = now - slot * FRAME;
    const first = this.#transits.length === 0;
    this.#transits.push(transit);
    if (this.#transits.length > ARRIVALS) this.#transits.shift();
    if (first || transit < this.#base) this.#base = transit;
    this.#count += 1;
    if (this.#count % 10 === 0) this.#look();
  }

  #look() {
    const recent = this.#transits.slice(-SHIFT_AFTER);
    if (recent.length === SHIFT_AFTER && Math.min(...recent) - this.#base > SHIFT) this.#transits = recent;
    const sorted = this.#transits.toSorted((a, b) => a - b);
    this.#base = sorted[0];
    const usual = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * IN_TIME))] - this.#base;
    this.#target = Math.min(DELAY_MAX, Math.max(DELAY_MIN, usual + MARGIN));
  }
}

export class Jitter {
  #arrivals = new Arrivals();
  /** @type {Map<number, {samples: Float32Array, meant: boolean, last: boolean}>} */
  #frames = new Map();
  #resampler = new Resampler();
  #concealer = new Concealer();
  #background = new Background();
  #playing = false;
  /** The next to play. */
  #slot = 0;
  /** Concealment that turns out to be for a loss, or not. */
  #open = 0;
  /** Until when the background goes on in a pause, and whether it shall not. */
  #comfort = 0;
  #ended = false;
  #noise = 0;
  #seed = 1;
  /** Frames played, frames that came too late, and concealed samples. */
  stats = { played: 0, late: 0, concealed: 0 };

  /** The delay that is aimed at. */
  get target() {
    return this.#arrivals.target;
  }

  /** Whether sound of the speaker is played right now. */
  get playing() {
    return this.#playing;
  }

  /** The slot that is played right now. */
  get slot() {
    return this.#slot - (this.#playing ? this.#resampler.waiting / FRAME : 0);
  }

  /**
   * A frame came.
   * @param {number} slot @param {Float32Array} samples @param {number} now
   * @param {boolean} meant whether nothing is missing before it: an earlier slot that is empty is a pause
   * @param {boolean} last whether the speaker stops with it
   * @param {boolean} filled whether it is made up
   */
  push(slot, samples, now, meant, last, filled = false) {
    if (!filled) this.#arrivals.add(slot, now);
    if (this.#playing && slot < this.#slot) {
      // A clock that jumped back begins anew.
      if (this.#slot - slot > FRAMES_MAX) this.#stop(0);
      else {
        this.stats.late += filled ? 0 : 1;
        return;
      }
    }
    this.#ended = false;
    this.#frames.set(slot, { samples, meant, last });
    if (this.#frames.size > FRAMES_MAX) this.#frames.delete(this.#first());
  }

  /** The speaker stopped, after all that has come. */
  end() {
    const newest = this.#frames.get(Math.max(...this.#frames.keys()));
    if (newest) newest.last = true;
    this.#ended = true;
    this.#comfort = 0;
  }

  /** Fills `out` with what is to be heard from `now` on. @param {Float32Array} out @param {number} now */
  pull(out, now) {
    this.#resampler.pull(out, (offset) => this.#next(now + offset));
  }

  #first() {
    let first = Infinity;
    for (const slot of this.#frames.keys()) first = Math.min(first, slot);
    return first;
  }

  /** How much later than it should a slot would be played now. @param {number} slot @param {number} now */
  #lateness(slot, now) {
    return now - this.#arrivals.earliest(slot) - this.#arrivals.target;
  }

  /** @param {number} now @returns {Float32Array} */
  #next(now) {
    this.#resampler.speed = 1;
    this.#leaveOut(now);
    const frame = this.#playing ? this.#frames.get(this.#slot) : undefined;
    if (frame) return this.#play(frame, now);
    const first = this.#first();
    if (first < Infinity && this.#lateness(first, now) >= 0) return this.#resume(first, now);
    const meant = this.#open > 0 && this.#frames.get(first)?.meant;
    if (this.#playing && !this.#concealer.silent && !meant) {
      this.#open += STEP;
      return this.#concealer.next(STEP);
    }
    if (this.#playing) this.#stop(this.#ended ? 0 : now + COMFORT_LONG);
    const wait = first < Infinity ? Math.ceil(-this.#lateness(first, now)) : PAUSE;
    return this.#pause(Math.min(PAUSE, Math.max(16, wait)), now);
  }

  /** What came far too late is left out, as long as something is left. @param {number} now */
  #leaveOut(now) {
    if (this.#frames.size < 2) return;
    for (const slot of [...this.#frames.keys()].sort((a, b) => a - b)) {
      if (this.#lateness(slot, now) <= LATE_MAX || this.#frames.size < 2) return;
      this.#frames.delete(slot);
      this.stats.late += 1;
      if (this.#playing && slot >= this.#slot) {
        this.#slot = slot + 1;
        this.#concealer.begin();
      }
    }
  }

  /** Goes on after a loss or a pause. @param {number} first @param {number} now */
  #resume(first, now) {
    const frame = this.#frames.get(first);
    if (!frame) return new Float32Array(PAUSE);
    if (this.#playing && !frame.meant) this.stats.concealed += this.#open;
    this.#playing = true;
    this.#slot = first;
    this.#concealer.begin();
    return this.#play(frame, now);
  }

  /** @param {{samples: Float32Array, last: boolean}} frame @param {number} now */
  #play(frame, now) {
    this.#open = 0;
    const off = this.#lateness(this.#slot, now);
    this.#resampler.speed = 1 + Math.max(-DRIFT_MAX, Math.min(DRIFT_MAX, (off / OFF) * DRIFT_MAX));
    let block = frame.samples;
    this.#take();
    const second = Math.abs(off) > OFF && !frame.last ? this.#frames.get(this.#slot) : undefined;
    if (second && !second.last) {
      block = new Float32Array(2 * FRAME);
      block.set(frame.samples);
      block.set(second.samples, FRAME);
      block = off > 0 ? shorter(block, off) : longer(block, -off);
      this.#take();
    } else block = block.slice();
    this.#concealer.join(block);
    this.#concealer.heard(block);
    this.#background.add(rms(block));
    if (frame.last) {
      for (let i = 0; i < PAUSE; i += 1) block[block.length - 1 - i] *= i / PAUSE;
      this.#stop(0);
    }
    return block;
  }

  #take() {
    this.#frames.delete(this.#slot);
    this.#slot += 1;
    this.stats.played += 1;
  }

  /** @param {number} comfort until when the background goes on */
  #stop(comfort) {
    this.#playing = false;
    this.#open = 0;
    this.#comfort = comfort;
  }

  /** Silence, or the background for a while: a line that goes dead sounds as if the speaker had gone. @param {number} count @param {number} now */
  #pause(count, now) {
    const block = new Float32Array(count);
    const level = now < this.#comfort ? Math.min(COMFORT_MAX, this.#background.amplitude) : 0;
    for (let i = 0; i < count && level > 0; i += 1) {
      this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
      this.#noise += 0.25 * ((this.#seed / 2 ** 31 - 1) * level * 2 - this.#noise);
      block[i] = this.#noise;
    }
    this.#concealer.join(block);
    this.#concealer.heard(block);
    return block;
  }
}
