// @ts-check
// What one message on the topic holds: a few frames of one speaker, of 20 ms each. All of it may be made up by a hostile
// member, who then is heard as noise.

const VERSION = 1;
const HEAD = 26;
/** Frames in one packet. */
export const FRAMES_MAX = 4;
/** The longest frame that Opus makes. */
const FRAME_BYTES_MAX = 1275;

/** 2.7 years. */
const SLOT_MAX = 2 ** 32;

/**
 * @typedef {object} Packet
 * @property {number} run one number for each time that a microphone was opened
 * @property {number} count packets of this run before this one
 * @property {number} slot when its first frame was spoken, in frames since the run began
 * @property {number} at when that was on the speaker's clock, in ms since 1970
 * @property {boolean} last whether the speaker stops with it
 * @property {Uint8Array<ArrayBuffer>[]} frames in Opus
 */

/** @param {Packet} packet @returns {Uint8Array<ArrayBuffer>} */
export function pack({ run, count, slot, at, last, frames }) {
  const bytes = new Uint8Array(frames.reduce((sum, frame) => sum + 2 + frame.length, HEAD));
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, (last ? 0x80 : 0) | frames.length);
  view.setUint32(2, run);
  view.setUint32(6, count);
  view.setFloat64(10, slot);
  view.setFloat64(18, at);
  let place = HEAD;
  for (const frame of frames) {
    view.setUint16(place, frame.length);
    bytes.set(frame, place + 2);
    place += 2 + frame.length;
  }
  return bytes;
}

/** Null for what is no packet. @param {Uint8Array<ArrayBuffer>} bytes @returns {Packet | null} */
export function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEAD || view.getUint8(0) !== VERSION) return null;
  const flags = view.getUint8(1);
  const [length, last] = [flags & 0x7f, flags >= 0x80];
  const [run, count, slot, at] = [view.getUint32(2), view.getUint32(6), view.getFloat64(10), view.getFloat64(18)];
  if (length > FRAMES_MAX || !Number.isSafeInteger(slot) || slot < 0 || slot > SLOT_MAX || !Number.isFinite(at)) return null;
  const frames = [];
  let place = HEAD;
  for (let i = 0; i < length; i += 1) {
    if (place + 2 > bytes.length) return null;
    const size = view.getUint16(place);
    place += 2;
    if (size === 0 || size > FRAME_BYTES_MAX || place + size > bytes.length) return null;
    frames.push(bytes.slice(place, place + size));
    place += size;
  }
  return place === bytes.length ? { run, count, slot, at, last, frames } : null;
}

/** A loss of more frames is not filled by the decoder. */
const FILL_MAX = 5;

/** What became of a speaker's packets. */
export class Received {
  #run = -1;
  #next = 0;
  #slot = 0;
  packets = 0;
  lost = 0;

  /**
   * How a packet follows those before it: whether a run begins, whether nothing is missing, and how many frames before it are, if
   * they are few.
   * @param {Packet} packet
   */
  take({ run, count, slot, frames }) {
    const begins = run !== this.#run;
    const missing = begins ? 0 : count - this.#next;
    this.#run = run;
    this.packets += 1;
    // A packet that is behind others was counted as lost.
    this.lost = Math.max(0, this.lost + (missing < 0 ? -1 : Math.min(missing, 500)));
    const gap = missing > 0 ? slot - this.#slot : 0;
    if (missing >= 0) [this.#next, this.#slot] = [count + 1, slot + frames.length];
    return { begins, follows: missing === 0 && !begins, fill: gap > 0 && gap <= FILL_MAX ? gap : 0 };
  }
}
