// @ts-check
import { DELAY_MAX, DELAY_MIN, FRAME, Jitter } from "../jitter.js";
import { decibel, rms } from "../level.js";
import { check, dice, near, pitch, roughness, tone } from "./check.js";

const QUANTUM = 128;
const SECOND = 48000;

/**
 * Speaks a tone for a while and listens: `way(slot)` says how many ms a frame is on its way, or null if it is lost.
 * @param {{seconds: number, way: (slot: number) => number | null, hz?: number, drift?: number, speaks?: (slot: number) => boolean, last?: (slot: number) => boolean}} story
 */
function play({ seconds, way, hz = 220, drift = 0, speaks = () => true, last = () => false }) {
  const jitter = new Jitter();
  const [arrivals, heard] = [/** @type {{at: number, slot: number, meant: boolean}[]} */ ([]), new Float32Array(seconds * SECOND)];
  let meant = true;
  for (let slot = 0; slot < seconds * 50; slot += 1) {
    const late = speaks(slot) ? way(slot) : undefined;
    if (late === undefined) continue;
    if (late !== null) arrivals.push({ at: (slot + 1) * FRAME * (1 + drift) + late * 48, slot, meant });
    meant = late !== null;
  }
  arrivals.sort((a, b) => a.at - b.at);
  const delays = [];
  for (let now = 0; now + QUANTUM <= heard.length; now += QUANTUM) {
    while (arrivals.length && arrivals[0].at <= now) {
      const { slot, meant } = arrivals.splice(0, 1)[0];
      jitter.push(slot, tone(hz, slot * FRAME, FRAME), now, meant, last(slot));
    }
    jitter.pull(heard.subarray(now, now + QUANTUM), now);
    if (jitter.playing) delays.push(now - jitter.slot * FRAME * (1 + drift));
  }
  return { heard, jitter, delays };
}

export const tests = {
  "an even stream comes out as it went in": () => {
    const { heard, jitter, delays } = play({ seconds: 6, way: () => 30 });
    const steady = heard.subarray(SECOND, 6 * SECOND);
    near(pitch(steady), 220, 0.1);
    near(rms(steady), 0.5 / Math.SQRT2, 0.002);
    check(roughness(steady) < 0.016, "it clicks");
    near(jitter.target, DELAY_MIN, 0);
    // 20 ms to make a frame, 30 ms of way, 40 ms of delay.
    near(delays[delays.length - 1] / 48, 90, 6);
    near(jitter.stats.concealed + jitter.stats.late, 0, 0);
  },
  "jitter is taken up by as much delay as it needs, and no sound is lost": () => {
    const random = dice(7);
    const { heard, jitter } = play({ seconds: 20, way: () => 30 + 90 * random() });
    near(jitter.target / 48, 98, 15);
    const steady = heard.subarray(10 * SECOND);
    near(pitch(steady), 220, 1);
    near(rms(steady), 0.5 / Math.SQRT2, 0.01);
    check(jitter.stats.late < 15, `${jitter.stats.late} frames were too late`);
  },
  "after a bad time the delay becomes short again": () => {
    const random = dice(9);
    const { jitter, delays, heard } = play({ seconds: 40, way: (slot) => (slot < 500 ? 30 + 150 * random() : 30) });
    near(jitter.target, DELAY_MIN, 0);
    near(delays[delays.length - 1] / 48, 90, 27);
    check(Math.max(...delays) / 48 > 180, "it never was long");
    near(pitch(heard.subarray(36 * SECOND)), 220, 1);
  },
  "a way that becomes longer for good is a new measure, not a loss": () => {
    const { jitter, heard } = play({ seconds: 12, way: (slot) => (slot < 250 ? 20 : 420) });
    near(jitter.target, DELAY_MIN, 0);
    near(rms(heard.subarray(10 * SECOND)), 0.5 / Math.SQRT2, 0.01);
    check(jitter.stats.late < 60, `${jitter.stats.late} were too late`);
  },
  "one lost frame in twenty is concealed at the right pitch, without clicks": () => {
    const random = dice(3);
    const { heard, jitter } = play({ seconds: 10, way: () => (random() < 0.05 ? null : 30) });
    const steady = heard.subarray(SECOND);
    near(pitch(steady), 220, 1);
    near(rms(steady), 0.5 / Math.SQRT2, 0.01);
    check(roughness(steady) < 0.03, `it clicks: ${roughness(steady)}`);
    check(jitter.stats.concealed > 10 * FRAME, "nothing was concealed");
  },
  "a long loss fades to silence and does not buzz": () => {
    const { heard } = play({ seconds: 6, way: (slot) => (slot >= 100 && slot < 200 ? null : 30) });
    check(decibel(rms(heard.subarray(2.3 * SECOND, 3.9 * SECOND))) < -48, "it goes on");
    near(rms(heard.subarray(4.5 * SECOND, 6 * SECOND)), 0.5 / Math.SQRT2, 0.01);
  },
  "a speaker that stops is silent, truly": () => {
    const { heard, jitter } = play({ seconds: 4, way: () => 30, speaks: (slot) => slot < 50, last: (slot) => slot === 49 });
    check(rms(heard.subarray(1.2 * SECOND)) === 0, "something is heard");
    check(roughness(heard.subarray(SECOND / 2)) < 0.02, "it clicks");
    check(!jitter.playing, "it still plays");
  },
  "a pause is no loss": () => {
    const { jitter, heard } = play({ seconds: 6, way: () => 30, speaks: (slot) => slot % 100 < 40 });
    near(jitter.stats.concealed, 0, 0);
    near(rms(heard.subarray(4.3 * SECOND, 4.8 * SECOND)), 0.5 / Math.SQRT2, 0.02);
  },
  "clocks that differ by two in ten thousand do not drift apart": () => {
    for (const drift of [2e-4, -2e-4]) {
      const { jitter, delays, heard } = play({ seconds: 60, way: () => 30, drift });
      near(delays[delays.length - 1] / 48, 90, 15);
      near(pitch(heard.subarray(50 * SECOND)), 220, 0.2);
      check(jitter.stats.late === 0 && jitter.stats.concealed === 0, JSON.stringify(jitter.stats));
    }
  },
  "frames out of order are put in order": () => {
    const { heard, jitter } = play({ seconds: 6, way: (slot) => (slot % 2 ? 20 : 50) });
    near(rms(heard.subarray(SECOND)), 0.5 / Math.SQRT2, 0.01);
    near(jitter.stats.late, 0, 2);
  },
  "a hostile speaker makes no long delay and no long queue": () => {
    const jitter = new Jitter();
    const random = dice(5);
    const out = new Float32Array(QUANTUM);
    for (let now = 0; now < 20 * SECOND; now += QUANTUM) {
      jitter.push(Math.floor(random() * 2 ** 40), tone(100, 0, FRAME), now, random() < 0.5, random() < 0.1);
      jitter.pull(out, now);
      check(out.every((sample) => Math.abs(sample) <= 2), "it is too loud");
      check(jitter.target <= DELAY_MAX, "the delay is too long");
    }
  },
};
