// @ts-check
// What is played where sound is missing, and how sound is made a little shorter or longer without a change of pitch.
// Both repeat or leave out whole periods of the voice.

/** The lowest and the highest voice whose period is looked for, in samples of 48 kHz: 400 to 62 Hz. */
const LAG_MIN = 120;
const LAG_MAX = 768;
/** The stretch that is compared. */
const WINDOW = 480;
/** Sound before a loss that is remembered. */
const HISTORY = LAG_MAX + WINDOW;
/** A search looks at every fourth sample, and closer around the best. */
const COARSE = 4;

/** Concealment is at full level so long, in samples. */
const FULL = 960;
/** And silent after this. */
export const CONCEAL_MAX = 4800;
/** Over how many samples real sound takes over from concealment. */
const JOIN = 240;
/** Over how many samples the step at the seam is taken up. */
const SEAM = 64;
/** How alike two stretches must be to be laid over each other. */
const ALIKE = 0.7;
/** Below this, nobody hears a seam. */
const QUIET = 0.002;

/**
 * How alike the stretch at `a` and the one at `b` are, from -1 to 1.
 * @param {Float32Array} x @param {number} a @param {number} b @param {number} length @param {number} step
 */
function likeness(x, a, b, length, step) {
  let [both, left, right] = [0, 0, 0];
  for (let i = 0; i < length; i += step) {
    both += x[a + i] * x[b + i];
    left += x[a + i] * x[a + i];
    right += x[b + i] * x[b + i];
  }
  return left > 0 && right > 0 ? both / Math.sqrt(left * right) : 0;
}

/**
 * The lag between `from` and `to` with which the stretch at `at` is most like the one `direction * lag` away.
 * @param {Float32Array} x @param {number} at @param {1 | -1} direction @param {number} length @param {number} from @param {number} to
 */
function bestLag(x, at, direction, length, from, to) {
  let [best, like] = [from, -1];
  const look = (/** @type {number} */ lag, /** @type {number} */ step) => {
    const found = likeness(x, at, at + direction * lag, length, step);
    if (found > like) [best, like] = [lag, found];
  };
  for (let lag = from; lag <= to; lag += COARSE) look(lag, COARSE);
  const middle = best;
  like = -1;
  for (let lag = Math.max(from, middle - COARSE); lag <= Math.min(to, middle + COARSE); lag += 1) look(lag, 1);
  return { lag: best, like };
}

/** Fills gaps: the last period of what was heard, again and again, fading. */
export class Concealer {
  #history = new Float32Array(HISTORY);
  #period = new Float32Array(0);
  /** Samples concealed since the last real sound. */
  #made = 0;
  #step = 0;

  /** Whether so much was concealed that there is only silence now. */
  get silent() {
    return this.#made >= CONCEAL_MAX;
  }

  /** Real sound that is played. @param {Float32Array} played */
  heard(played) {
    [this.#made, this.#period] = [0, new Float32Array(0)];
    if (played.length >= HISTORY) this.#history.set(played.subarray(played.length - HISTORY));
    else {
      this.#history.copyWithin(0, played.length);
      this.#history.set(played, HISTORY - played.length);
    }
  }

  /** The next samples where there are none. @param {number} count */
  next(count) {
    this.begin();
    const made = new Float32Array(count);
    for (let i = 0; i < count; i += 1) made[i] = this.#sample();
    return made;
  }

  /** Real sound again: it takes over softly, in place, from concealment if that was begun. @param {Float32Array} block */
  join(block) {
    if (this.#period.length === 0) return;
    for (let i = 0; i < Math.min(JOIN, block.length); i += 1) {
      const share = (i + 1) / (JOIN + 1);
      block[i] = share * block[i] + (1 - share) * this.#sample();
    }
  }

  /** What comes next does not follow what was heard. */
  begin() {
    if (this.#period.length > 0) return;
    const [x, end] = [this.#history, HISTORY];
    const { lag } = bestLag(x, end - WINDOW, -1, WINDOW, LAG_MIN, LAG_MAX);
    const period = x.slice(end - lag);
    // Its end goes over into what came before its beginning, so that it can be repeated.
    const soft = Math.min(lag >> 2, end - lag);
    for (let i = 0; i < soft; i += 1) {
      const share = (i + 1) / (soft + 1);
      const at = lag - soft + i;
      period[at] = (1 - share) * period[at] + share * x[end - lag - soft + i];
    }
    this.#period = period;
    this.#step = x[end - 1] - x[end - lag - 1];
  }

  #sample() {
    const at = this.#made;
    this.#made += 1;
    const gain = at < FULL ? 1 : Math.max(0, 1 - (at - FULL) / (CONCEAL_MAX - FULL));
    const seam = at < SEAM ? this.#step * (1 - (at + 1) / (SEAM + 1)) : 0;
    return gain * (this.#period[at % this.#period.length] + seam);
  }
}

/** @param {Float32Array} x @param {number} lagMax */
function fitting(x, lagMax) {
  const { lag, like } = bestLag(x, 0, 1, WINDOW, LAG_MIN, Math.min(lagMax, x.length - WINDOW));
  let peak = 0;
  for (const sample of x) peak = Math.max(peak, Math.abs(sample));
  return like >= ALIKE || peak < QUIET ? lag : 0;
}

/** Leaves out a period if that can be done unheard. @param {Float32Array} x two frames @param {number} lagMax at most so many samples */
export function shorter(x, lagMax) {
  const lag = fitting(x, lagMax);
  if (lag === 0) return x;
  const made = new Float32Array(x.length - lag);
  made.set(x.subarray(lag));
  for (let i = 0; i < WINDOW; i += 1) {
    const share = (i + 1) / (WINDOW + 1);
    made[i] = (1 - share) * x[i] + share * x[lag + i];
  }
  return made;
}

/** Plays a period twice if that can be done unheard. @param {Float32Array} x two frames @param {number} lagMax at most so many samples */
export function longer(x, lagMax) {
  const lag = fitting(x, lagMax);
  if (lag === 0) return x;
  const made = new Float32Array(x.length + lag);
  made.set(x.subarray(0, lag + WINDOW));
  made.set(x, lag);
  for (let i = 0; i < WINDOW; i += 1) {
    const share = (i + 1) / (WINDOW + 1);
    made[lag + i] = (1 - share) * x[lag + i] + share * x[i];
  }
  return made;
}
