// @ts-check
// Two clocks never run alike. The speaker's sound is read a little faster or slower than it was made, by so little that nobody
// hears it.

/** The most by which the speed differs from 1: a hundredth of a semitone is 0.06 %, and clocks differ by less than 0.02 %. */
export const DRIFT_MAX = 0.003;

/** Reads blocks as one stream, at a speed near 1, by cubic interpolation. */
export class Resampler {
  /** The samples before the place, at it and the two behind it: all that the interpolation needs. */
  #ring = new Float32Array(4);
  #part = 0;
  /** @type {Float32Array} */
  #block = new Float32Array(0);
  #at = 0;
  speed = 1;

  /** Samples of the last block that were not read yet. */
  get waiting() {
    return this.#block.length - this.#at;
  }

  /** @param {Float32Array} out @param {(offset: number) => Float32Array} next the next block, not empty; it is wanted at this place of `out` */
  pull(out, next) {
    for (let i = 0; i < out.length; i += 1) {
      this.#part += this.speed;
      while (this.#part >= 1) {
        this.#part -= 1;
        if (this.#at >= this.#block.length) [this.#block, this.#at] = [next(i), 0];
        this.#ring.copyWithin(0, 1);
        this.#ring[3] = this.#block[this.#at];
        this.#at += 1;
      }
      out[i] = cubic(this.#ring, this.#part);
    }
  }
}

/** Catmull-Rom, between the second and the third. @param {Float32Array} y @param {number} t */
function cubic([a, b, c, d], t) {
  return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}
