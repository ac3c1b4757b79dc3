// @ts-check
// One speaker in the audio thread: frames come from the decoder, sound goes out evenly.

import { Jitter } from "./jitter.js";
import { rms } from "./level.js";

/** How often it says how it does, in samples: 50 ms. */
const REPORT = 2400;

/**
 * @typedef {object} Report
 * @property {number} slot what is played at `time`
 * @property {number} time on the clock of the audio context, in s
 * @property {boolean} playing
 * @property {number} level the greatest since the last report
 * @property {number} target the delay that is aimed at, in samples
 * @property {{played: number, late: number, concealed: number}} stats
 */

class Playout extends AudioWorkletProcessor {
  #jitter = new Jitter();
  #level = 0;
  #reported = 0;
  #open = true;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data.samples) this.#jitter.push(data.slot, data.samples, currentFrame, data.meant, data.last, data.filled);
      else if (data.end) this.#jitter.end();
      else if (data.begin) this.#jitter = new Jitter();
      else if (data.close) this.#open = false;
    };
  }

  /** @param {unknown} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, [[channel]]) {
    this.#jitter.pull(channel, currentFrame);
    this.#level = Math.max(this.#level, rms(channel));
    if (currentFrame - this.#reported >= REPORT) {
      const { slot, playing, target, stats } = this.#jitter;
      /** @type {Report} */
      const report = { slot, time: currentTime, playing, level: this.#level, target, stats };
      this.port.postMessage(report);
      [this.#reported, this.#level] = [currentFrame, 0];
    }
    return this.#open;
  }
}
registerProcessor("playout", Playout);
