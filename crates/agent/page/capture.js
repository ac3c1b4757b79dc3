// @ts-check
// Takes the microphone's samples in the audio thread and hands them on in blocks of 20 ms.

const BLOCK = 960;

class Capture extends AudioWorkletProcessor {
  #block = new Float32Array(BLOCK);
  #filled = 0;
  #n = 0;

  /** @param {Float32Array[][]} inputs */
  process([[channel]]) {
    for (const sample of channel ?? []) {
      this.#block[this.#filled] = sample;
      this.#filled += 1;
      if (this.#filled < BLOCK) continue;
      this.port.postMessage({ n: this.#n, samples: this.#block }, [this.#block.buffer]);
      [this.#block, this.#filled, this.#n] = [new Float32Array(BLOCK), 0, this.#n + 1];
    }
    return true;
  }
}
registerProcessor("capture", Capture);
