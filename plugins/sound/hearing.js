// @ts-check
// From the group to the ear: one voice for each speaker, all into one output.

import { Meter, decibel } from "./level.js";
import { Received, unpack } from "./packet.js";

const RATE = 48000;
const FRAME_US = 20000;
/** The encoder looks so far ahead, which no timestamp tells. */
const LOOK_AHEAD_MS = 6.5;
/** Voices at once. */
const VOICES_MAX = 64;

/** Whether this browser has what it takes. */
export async function canHear() {
  if (typeof AudioDecoder === "undefined" || typeof AudioWorkletNode === "undefined") return false;
  const config = { codec: "opus", sampleRate: RATE, numberOfChannels: 1 };
  return (await AudioDecoder.isConfigSupported(config).catch(() => null))?.supported === true;
}

/** What is shown of a voice. */
export class Voice {
  #received = new Received();
  /** What the decoder was given, by slot. @type {Map<number, {meant: boolean, last: boolean}>} */
  #given = new Map();
  /** @type {AudioDecoder | null} */
  #decoder = null;
  #last = { slot: 0, at: 0 };
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
  }

  /** Packets that came and that were lost. */
  get packets() {
    return { came: this.#received.packets, lost: this.#received.lost };
  }

  /** @param {import("./packet.js").Packet} packet */
  take(packet) {
    const { begins, follows } = this.#received.take(packet);
    if (begins) {
      this.node.port.postMessage({ begin: true });
      this.#close();
    }
    this.#last = { slot: packet.slot, at: packet.at };
    packet.frames.forEach((frame, i) => {
      const [slot, last] = [packet.slot + i, packet.last && i === packet.frames.length - 1];
      this.#decode(slot, frame, { meant: i > 0 || follows, last });
    });
    if (packet.last && packet.frames.length === 0) this.node.port.postMessage({ end: true });
  }

  /** @param {number} slot @param {Uint8Array<ArrayBuffer>} data @param {{meant: boolean, last: boolean}} given */
  #decode(slot, data, given) {
    const decoder = this.#decoder ?? this.#open();
    if (this.#given.size > 100) return;
    this.#given.set(slot, given);
    decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: slot * FRAME_US, data }));
  }

  #open() {
    const decoder = new AudioDecoder({ output: (data) => this.#decoded(data), error: () => this.#close() });
    decoder.configure({ codec: "opus", sampleRate: RATE, numberOfChannels: 1 });
    this.#decoder = decoder;
    return decoder;
  }

  /** @param {AudioData} data */
  #decoded(data) {
    const slot = Math.round(data.timestamp / FRAME_US);
    const given = this.#given.get(slot);
    this.#given.delete(slot);
    const fits = data.numberOfFrames === 960 && data.sampleRate === RATE;
    if (given && fits) {
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      this.node.port.postMessage({ slot, samples, ...given }, [samples.buffer]);
    }
    data.close();
  }

  /** What cannot be decoded, or is over, takes its decoder with it. */
  #close() {
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
    this.#given.clear();
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
