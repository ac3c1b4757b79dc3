// @ts-check
// What the tests of the plugin's modules share. They run in the browser: see crates/agent/tests/browser/sound.rs.

/** @param {unknown} is @param {string} what */
export function check(is, what) {
  if (!is) throw new Error(what);
}

/** @param {unknown} left @param {unknown} right */
export function equal(left, right) {
  const [a, b] = [JSON.stringify(left), JSON.stringify(right)];
  check(a === b, `${a} is not ${b}`);
}

/** @param {number} value @param {number} wanted @param {number} within */
export function near(value, wanted, within) {
  check(Math.abs(value - wanted) <= within, `${value} is not within ${within} of ${wanted}`);
}

/** A tone from sample `from` on. @param {number} hz @param {number} from @param {number} count */
export function tone(hz, from, count) {
  return Float32Array.from({ length: count }, (_, i) => 0.5 * Math.sin((2 * Math.PI * hz * (from + i)) / 48000));
}

/** The pitch of a tone, by its crossings of zero. @param {Float32Array} x */
export function pitch(x) {
  let [first, last, count] = [-1, 0, 0];
  for (let i = 1; i < x.length; i += 1) {
    if (x[i - 1] >= 0 || x[i] < 0) continue;
    const at = i - x[i] / (x[i] - x[i - 1]);
    if (first < 0) first = at;
    else count += 1;
    last = at;
  }
  return count > 0 ? (48000 * count) / (last - first) : 0;
}

/** The greatest step from one sample to the next. @param {Float32Array} x */
export function roughness(x) {
  let most = 0;
  for (let i = 1; i < x.length; i += 1) most = Math.max(most, Math.abs(x[i] - x[i - 1]));
  return most;
}

/** Numbers from 0 to 1, the same each time. @param {number} seed */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
