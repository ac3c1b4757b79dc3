// @ts-check
// The microphone. A plugin's frame cannot open it. The page does, after its user has said yes to that very plugin, shows a
// lamp while it is open, and can mute and close it whatever the plugin wants.

import { byId } from "./dom.js";

const RATE = 48000;
const BLOCK_MS = 20;

/** @typedef {import("./frames.js").Frame} Frame */

/** What the browser's words mean. @param {unknown} error */
function why(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return "the browser does not allow the microphone: look at its settings for this page";
  if (name === "NotFoundError") return "there is no microphone";
  if (name === "NotReadableError") return "the microphone is in use by another program, or does not work";
  return error instanceof Error ? error.message : "the microphone cannot be opened";
}

export class Microphone {
  /** @type {{frame: Frame, stream: MediaStream, context: AudioContext} | null} */
  #open = null;
  /** Plugins that the user has said yes to, as long as this page is open. @type {Set<string>} */
  #allowed = new Set();
  #busy = false;
  #muted = false;

  /** @param {() => string} shown the plugin that the user looks at */
  constructor(shown) {
    this.shown = shown;
    byId("microphone-mute").addEventListener("click", () => this.#mute(!this.#muted));
    byId("microphone-close").addEventListener("click", () => this.close(this.#open?.frame, "you closed it"));
  }

  /**
   * Opens it for a plugin. Resolves once it is open.
   * @param {Frame} frame @param {boolean} raw as it is, without removal of echo and noise
   */
  async open(frame, raw) {
    if (!frame.facts.microphone) throw new Error("its manifest does not ask for the microphone");
    if (this.#busy) throw new Error("the user is being asked");
    if (this.#open && this.#open.frame !== frame) throw new Error(`${this.#open.frame.facts.name} has the microphone`);
    this.#busy = true;
    try {
      this.close(frame);
      if (!this.#allowed.has(frame.facts.id) && !(await this.#ask(frame))) throw new Error("you did not allow it");
      this.#allowed.add(frame.facts.id);
      await this.#start(frame, raw);
    } finally {
      this.#busy = false;
    }
  }

  /** @param {Frame} frame @returns {Promise<boolean>} */
  #ask(frame) {
    const dialog = /** @type {HTMLDialogElement} */ (byId("microphone-dialog"));
    // Only what the user looks at may ask.
    if (dialog.open || frame.facts.id !== this.shown()) return Promise.resolve(false);
    byId("microphone-who").textContent = frame.facts.name;
    dialog.returnValue = "";
    return new Promise((resolve) => {
      dialog.onclose = () => resolve(dialog.returnValue === "allow");
      dialog.showModal();
    });
  }

  /** @param {Frame} frame @param {boolean} raw */
  async #start(frame, raw) {
    const clean = !raw;
    const audio = { channelCount: 1, echoCancellation: clean, noiseSuppression: clean, autoGainControl: clean };
    if (!navigator.mediaDevices) throw new Error("this browser has no microphone for this page");
    const stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((error) => {
      throw new Error(why(error));
    });
    const [track] = stream.getAudioTracks();
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    try {
      await context.audioWorklet.addModule("capture.js");
      const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
      // What the browser says of the device; many say nothing.
      const behind = BLOCK_MS + 1000 * (/** @type {{latency?: number}} */ (track.getSettings()).latency ?? 0);
      node.port.onmessage = ({ data }) => {
        const at = performance.timeOrigin + performance.now() - behind;
        if (!this.#muted) frame.hear({ n: data.n, at, samples: data.samples });
      };
      context.createMediaStreamSource(stream).connect(node);
      await context.resume();
    } catch (error) {
      track.stop();
      await context.close();
      throw new Error(why(error));
    }
    this.#open = { frame, stream, context };
    track.onended = () => this.close(frame, "the microphone is gone");
    this.#mute(false);
  }

  /** @param {boolean} muted */
  #mute(muted) {
    this.#muted = muted;
    for (const track of this.#open?.stream.getAudioTracks() ?? []) track.enabled = !muted;
    this.#show();
    this.#open?.frame.tellMicrophone({ open: true, muted, why: "" });
  }

  /** @param {Frame} [frame] nothing happens if it is another's @param {string} [reason] */
  close(frame, reason = "") {
    const open = this.#open;
    if (!open || open.frame !== frame) return;
    this.#open = null;
    for (const track of open.stream.getTracks()) track.stop();
    open.context.close();
    this.#show();
    open.frame.tellMicrophone({ open: false, muted: false, why: reason });
  }

  #show() {
    const open = this.#open;
    byId("microphone").hidden = open === null;
    byId("microphone").classList.toggle("muted", this.#muted);
    byId("microphone-words").textContent = !open ? "" : this.#muted ? "Your microphone is muted" : `${open.frame.facts.name} hears your microphone`;
    byId("microphone-mute").textContent = this.#muted ? "Unmute" : "Mute";
  }
}
