// @ts-check
// From the microphone to the group: what is worth sending is encoded in Opus and sent, 20 ms at a time.

import { Pace } from "./clock.js";
import { Background, decibel, rms } from "./level.js";
import { pack } from "./packet.js";

const RATE = 48000;
const FRAME_MS = 20;
const BIT_RATE = 32000;
/** Louder than this is sent, and so is what stands out of the background by so much. */
const LOUD_DB = -50;
const AUDIBLE_DB = -65;
const STANDS_OUT_DB = 9;
/** Silence is sent for so long, in frames: the pauses between words. */
const HANG = 25;
/** Packets on their way to the agent; a page that is behind sends no more. */
const WAITING_MAX = 10;
/** With so many others speaking, two frames go into each packet. */
const MANY = 3;

/** As for music: speech coders predict so much that a lost packet is heard in the ten after it. TypeScript does not know all of it yet. */
const OPUS = /** @type {AudioEncoderConfig} */ ({
  codec: "opus", sampleRate: RATE, numberOfChannels: 1, bitrate: BIT_RATE,
  opus: { frameDuration: FRAME_MS * 1000, application: "audio", packetlossperc: 10 },
});

/** Whether this browser has what it takes. */
export async function canSpeak() {
  if (typeof AudioEncoder === "undefined") return false;
  return (await AudioEncoder.isConfigSupported(OPUS).catch(() => null))?.supported === true;
}

/** From the microphone's opening to its closing. */
export class Speaking {
  #run = crypto.getRandomValues(new Uint32Array(1))[0];
  #count = 0;
  #waiting = 0;
  #pace = new Pace(FRAME_MS);
  #background = new Background();
  #quiet = HANG;
  /** @type {Spurt | null} */
  #spurt = null;
  /** Ready before it is wanted: making an encoder takes time. */
  #ready = this.#make();
  /** Whether what is said shall be heard. */
  on = false;
  /** Whether the button is held: then silence is sent too. */
  held = false;
  /** Of the last block, in dB. */
  level = -90;
  /** Others that speak right now. */
  others = 0;

  /** @param {import("./ringfort.js").Ringfort} rf @param {(error: Error | null) => void} sent */
  constructor(rf, sent) {
    this.rf = rf;
    this.sent = sent;
  }

  /** Whether something is being sent. */
  get talking() {
    return this.#spurt !== null;
  }

  /** @param {import("./ringfort.js").Heard} heard */
  heard({ n, at, samples }) {
    const amplitude = rms(samples);
    this.level = decibel(amplitude);
    this.#background.add(amplitude);
    const spoken = this.#pace.add(n, at);
    const loud = this.level > LOUD_DB || (this.level > AUDIBLE_DB && this.level > decibel(this.#background.amplitude) + STANDS_OUT_DB);
    this.#quiet = loud || this.held ? 0 : this.#quiet + 1;
    if (!this.on || this.#quiet >= HANG || (this.#spurt && this.#spurt.next !== n)) this.stop();
    if (!this.on || this.#quiet >= HANG) return;
    if (!this.#spurt) {
      this.#spurt = this.#ready;
      this.#spurt.bundle = this.others >= MANY ? 2 : 1;
      this.#ready = this.#make();
    }
    this.#spurt.add(n, spoken, samples);
  }

  #make() {
    return new Spurt((spurt) => this.#send(spurt));
  }

  /** The microphone is closed. */
  end() {
    this.stop();
    this.#ready.encoder.close();
  }

  /** Nothing more is said, for now. */
  stop() {
    this.#spurt?.finish();
    this.#spurt = null;
  }

  /** @param {Pick<import("./packet.js").Packet, "slot" | "at" | "last" | "frames">} spurt */
  async #send(spurt) {
    const packet = pack({ run: this.#run, count: this.#count, ...spurt });
    // One that is not sent is lost for the listeners, who shall know.
    this.#count += 1;
    if (this.#waiting >= WAITING_MAX) return;
    this.#waiting += 1;
    try {
      await this.rf.send(packet, { part: "talk", volatile: true, service: "best_effort" });
      this.sent(null);
    } catch (error) {
      this.sent(error instanceof Error ? error : new Error("it failed"));
    } finally {
      this.#waiting -= 1;
    }
  }
}

/** Speech without a pause. */
class Spurt {
  /** What the encoder has not answered yet. @type {{slot: number, at: number}[]} */
  #asked = [];
  /** @type {{slot: number, at: number, bytes: Uint8Array<ArrayBuffer>}[]} */
  #ready = [];
  /** The next slot. */
  next = 0;
  at = 0;
  /** Frames in a packet. */
  bundle = 1;

  /** @param {(packet: Pick<import("./packet.js").Packet, "slot" | "at" | "last" | "frames">) => void} send */
  constructor(send) {
    this.send = send;
    this.encoder = new AudioEncoder({ output: (chunk) => this.#encoded(chunk), error: () => {} });
    this.encoder.configure(OPUS);
  }

  /** @param {number} slot @param {number} at @param {Float32Array<ArrayBuffer>} samples */
  add(slot, at, samples) {
    if (this.encoder.state !== "configured") return;
    [this.next, this.at] = [slot + 1, at];
    this.#asked.push({ slot, at });
    const [numberOfFrames, timestamp] = [samples.length, slot * FRAME_MS * 1000];
    const data = new AudioData({ format: "f32-planar", sampleRate: RATE, numberOfChannels: 1, numberOfFrames, timestamp, data: samples });
    this.encoder.encode(data);
    data.close();
  }

  /** @param {EncodedAudioChunk} chunk */
  #encoded(chunk) {
    // One comes for each frame, in order; flushing makes one more, which ends the last.
    const asked = this.#asked.shift();
    if (!asked) return;
    const bytes = new Uint8Array(chunk.byteLength);
    chunk.copyTo(bytes);
    this.#ready.push({ ...asked, bytes });
    if (this.#ready.length >= this.bundle) this.#flush(false);
  }

  /** @param {boolean} last */
  #flush(last) {
    const ready = this.#ready.splice(0);
    const { slot, at } = ready[0] ?? { slot: this.next, at: this.at + FRAME_MS };
    this.send({ slot, at, last, frames: ready.map(({ bytes }) => bytes) });
  }

  async finish() {
    if (this.encoder.state === "configured") await this.encoder.flush().catch(() => {});
    this.#flush(true);
    if (this.encoder.state !== "closed") this.encoder.close();
  }
}
