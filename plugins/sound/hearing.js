// @ts-check
// From the group to the ear: one voice for each speaker, all into one output.

import { Meter, decibel } from "./level.js";
import { Received, unpack } from "./packet.js";

const RATE = 48000;
const FRAME_US = 20000;
/** The encoder looks so far ahead, which no timestamp tells. */
const LOOK_AHEAD_MS = 6.5;
/** Without packets for so many frames there is a pause. */
const PAUSE = 10;
/** Frames that a decoder may be behind. */
const BEHIND_MAX = 100;
/** Voices at once. */
const VOICES_MAX = 64;

/** Whether this browser has what it takes. */
export async function canHear() {
  if (typeof AudioDecoder === "undefined" || typeof AudioWorkletNode === "undefined") return false;
  const config = { codec: "opus", sampleRate: RATE, numberOfChannels: 1 };
  return (await AudioDecoder.isConfigSupported(config).catch(() => null))?.supported === true;
}

/** @typedef {{slot: number, meant: boolean, last: boolean, filled: boolean}} Given what is known of a frame */

/** One speaker. */
export class Voice {
  #received = new Received();
  /** A decoder, and what it has not answered yet. @type {{decoder: AudioDecoder, given: Given[]} | null} */
  #decoding = null;
  #last = { slot: 0, at: 0 };
  /** Frames that the decoder made up. */
  filled = 0;
  meter = new Meter();
  speaking = false;
  /** From mouth to ear, in ms on two clocks: see `ahead` in clock.js. @type {number | null} */
  apart = null;
  /** @type {import("./playout.js").Report | null} */
  report = null;

  /** @param {Hearing} hearing */
  constructor(hearing) {
    const { context, out } = hearing;
    this.hearing = hearing;
    this.volume = new GainNode(context, { gain: 1 });
    this.node = new AudioWorkletNode(context, "playout", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.#reported(data);
    this.node.connect(this.volume).connect(out);
    this.#decoding = this.#open();
  }

  /** Packets that came and that were lost. */
  get packets() {
    return { came: this.#received.packets, lost: this.#received.lost };
  }

  /** @param {import("./packet.js").Packet} packet */
  async take(packet) {
    const { begins, follows, fill } = this.#received.take(packet);
    if (begins) {
      this.node.port.postMessage({ begin: true });
      this.#close();
    }
    // A pause whose beginning was lost.
    if (!begins && packet.slot - this.#last.slot > PAUSE && this.#decoding?.given.length) this.#finish();
    this.#last = { slot: packet.slot, at: packet.at };
    const [frame] = packet.frames;
    // A frame of which there is only the first byte holds nothing, and the decoder of Opus makes it up.
    for (let i = fill; frame && i > 0; i -= 1) {
      this.filled += 1;
      this.#decode(packet.slot - i, frame.slice(0, 1), { slot: packet.slot - i, meant: true, last: false, filled: true });
    }
    packet.frames.forEach((frame, i) => {
      const [slot, last] = [packet.slot + i, packet.last && i === packet.frames.length - 1];
      this.#decode(slot, frame, { slot, meant: i > 0 || follows || fill > 0, last, filled: false });
    });
    if (!packet.last) return;
    await this.#finish();
    if (packet.frames.length === 0) this.node.port.postMessage({ end: true });
  }

  /** @param {number} slot @param {Uint8Array<ArrayBuffer>} data @param {Given} given */
  #decode(slot, data, given) {
    if ((this.#decoding?.given.length ?? 0) > BEHIND_MAX) this.#close();
    this.#decoding ??= this.#open();
    this.#decoding.given.push(given);
    this.#decoding.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: slot * FRAME_US, data }));
  }

  /** One decoder for speech without a pause: it takes no notice of pauses, and its timestamps run on. */
  #open() {
    /** @type {Given[]} */
    const given = [];
    const decoder = new AudioDecoder({
      output: (data) => this.#decoded(data, given.shift()),
      error: () => {
        if (this.#decoding?.decoder === decoder) this.#decoding = null;
      },
    });
    decoder.configure({ codec: "opus", sampleRate: RATE, numberOfChannels: 1 });
    return { decoder, given };
  }

  /** One comes for each frame, in order. @param {AudioData} data @param {Given | undefined} given */
  #decoded(data, given) {
    if (given && data.numberOfFrames === 960 && data.sampleRate === RATE) {
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      this.node.port.postMessage({ samples, ...given }, [samples.buffer]);
    }
    data.close();
  }

  /** What was given to the decoder still comes. The next one is ready before it is wanted: making one takes time. */
  async #finish() {
    const old = this.#decoding?.decoder;
    this.#decoding = this.#open();
    await old?.flush().catch(() => {});
    if (old && old.state !== "closed") old.close();
  }

  #close() {
    const old = this.#decoding?.decoder;
    this.#decoding = null;
    if (old && old.state !== "closed") old.close();
  }

  /** @param {import("./playout.js").Report} report */
  #reported(report) {
    this.report = report;
    this.speaking = report.playing;
    this.meter.add(decibel(report.level), performance.now());
    if (!report.playing) return;
    const spoken = this.#last.at + (report.slot - this.#last.slot) * 20;
    this.apart = this.hearing.heardAt(report.time) - spoken + LOOK_AHEAD_MS;
  }

  end() {
    this.#close();
    this.node.port.postMessage({ close: true });
    this.node.disconnect();
    this.volume.disconnect();
  }
}

/** All that is heard. */
export class Hearing {
  /** @type {Map<string, Voice>} */
  voices = new Map();

  /** @param {AudioContext} context */
  constructor(context) {
    this.context = context;
    this.out = new GainNode(context);
    /** What goes to the loudspeaker. */
    this.tap = new AnalyserNode(context, { fftSize: 8192 });
    this.out.connect(this.tap).connect(context.destination);
  }

  static async open() {
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await context.audioWorklet.addModule("playout.js");
    return new Hearing(context);
  }

  /** A message that came. @param {string} from @param {Uint8Array} bytes */
  take(from, bytes) {
    const packet = unpack(Uint8Array.from(bytes));
    if (packet && this.context.state === "running") this.voice(from)?.take(packet);
  }

  /** @param {string} name */
  voice(name) {
    const known = this.voices.get(name);
    if (known || this.voices.size >= VOICES_MAX) return known;
    const made = new Voice(this);
    this.voices.set(name, made);
    return made;
  }

  /** When what is played at a time of the context is heard, in ms since 1970. @param {number} time */
  heardAt(time) {
    const { contextTime = 0, performanceTime = 0 } = this.context.getOutputTimestamp();
    const now = performance.now() + 1000 * this.context.outputLatency;
    const at = performanceTime > 0 ? performanceTime + 1000 * (time - contextTime) : now;
    return performance.timeOrigin + at;
  }

  /** @param {string} name */
  end(name) {
    this.voices.get(name)?.end();
    this.voices.delete(name);
  }

  close() {
    for (const name of [...this.voices.keys()]) this.end(name);
    return this.context.close();
  }
}
