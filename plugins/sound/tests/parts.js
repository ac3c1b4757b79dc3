// @ts-check
import { Clocks, Pace } from "../clock.js";
import { CONCEAL_MAX, Concealer, longer, shorter } from "../conceal.js";
import { Background, Meter, decibel, rms } from "../level.js";
import { Received, pack, unpack } from "../packet.js";
import { Resampler } from "../resample.js";
import { check, dice, equal, near, pitch, roughness, tone } from "./check.js";

const packet = { run: 7, count: 3, slot: 99, at: 1763726400123.5, last: true, frames: [Uint8Array.of(1, 2, 3), Uint8Array.of(9)] };

export const tests = {
  "a packet is what it was": () => {
    const back = unpack(pack(packet));
    equal({ ...back, frames: back?.frames.map((f) => [...f]) }, { ...packet, frames: [[1, 2, 3], [9]] });
    equal(unpack(pack({ ...packet, frames: [] }))?.frames.length, 0);
  },
  "what is no packet is nothing": () => {
    const good = pack(packet);
    for (let length = 0; length < good.length; length += 1) equal(unpack(good.slice(0, length)), null);
    equal(unpack(Uint8Array.of(...good, 0)), null);
    equal(unpack(pack({ ...packet, frames: Array(5).fill(Uint8Array.of(1)) })), null);
    equal(unpack(pack({ ...packet, frames: [new Uint8Array(1276)] })), null);
    equal(unpack(pack({ ...packet, slot: -1 })), null);
    equal(unpack(pack({ ...packet, slot: NaN })), null);
    equal(unpack(pack({ ...packet, slot: 2 ** 33 })), null);
    equal(unpack(pack({ ...packet, at: Infinity })), null);
    const random = dice(1);
    for (let i = 0; i < 2000; i += 1) unpack(Uint8Array.from({ length: 60 }, () => random() * 256));
  },
  "losses are counted, and what came after all is none": () => {
    const received = new Received();
    const take = (/** @type {number} */ count, run = 1) => received.take({ ...packet, run, count, slot: 10 + 2 * count });
    equal(take(5), { begins: true, follows: false, fill: 0 });
    equal(take(6), { begins: false, follows: true, fill: 0 });
    equal([take(9), received.lost], [{ begins: false, follows: false, fill: 4 }, 2]);
    equal([take(8), received.lost], [{ begins: false, follows: false, fill: 0 }, 1]);
    equal([take(10), received.lost], [{ begins: false, follows: true, fill: 0 }, 1]);
    equal([take(14), received.lost], [{ begins: false, follows: false, fill: 0 }, 4]);
    equal([take(0, 2), received.lost], [{ begins: true, follows: false, fill: 0 }, 4]);
  },
  "concealment goes on in the same pitch, without a step, and fades": () => {
    for (const hz of [90, 220, 331]) {
      const concealer = new Concealer();
      concealer.heard(tone(hz, 0, 4800));
      const made = concealer.next(1440);
      near(pitch(made), hz, hz * 0.005);
      const joined = new Float32Array([...tone(hz, 3840, 960), ...made]);
      check(roughness(joined) <= roughness(tone(hz, 0, 960)) * 1.3, `it clicks at ${hz}`);
      concealer.next(CONCEAL_MAX);
      check(concealer.silent && rms(concealer.next(480)) === 0, "it does not end");
    }
  },
  "concealment of silence and of noise is harmless": () => {
    const concealer = new Concealer();
    equal(rms(concealer.next(480)), 0);
    const random = dice(4);
    concealer.heard(Float32Array.from({ length: 4800 }, () => random() - 0.5));
    check(concealer.next(4800).every((sample) => Math.abs(sample) < 1.1), "it is too loud");
  },
  "shorter and longer keep the pitch and make no click": () => {
    for (const hz of [80, 220, 350]) {
      const x = tone(hz, 0, 1920);
      const [cut, more] = [shorter(x, 960), longer(x, 960)];
      check(cut.length < 1920 && more.length > 1920, "nothing was changed");
      for (const made of [cut, more]) {
        near(pitch(made), hz, hz * 0.01);
        check(roughness(made) <= roughness(x) * 1.2, `it clicks at ${hz}`);
      }
    }
    const random = dice(2);
    const noise = Float32Array.from({ length: 1920 }, () => random() - 0.5);
    equal([shorter(noise, 960).length, longer(noise, 960).length], [1920, 1920]);
  },
  "the resampler changes the speed and little else": () => {
    for (const speed of [1, 1.003, 0.997]) {
      const resampler = new Resampler();
      let at = 0;
      const out = new Float32Array(48000);
      resampler.speed = speed;
      resampler.pull(out, () => {
        at += 960;
        return tone(1000, at - 960, 960);
      });
      near(pitch(out.subarray(100)), 1000 * speed, 0.1);
      near(rms(out.subarray(100)), 0.5 / Math.SQRT2, 0.001);
      near(at, 48000 * speed, 964);
    }
  },
  "two clocks find how far they are apart": () => {
    const [ana, ben] = [new Clocks("ana"), new Clocks("ben")];
    const [random, ahead] = [dice(6), 5000];
    equal(ana.ahead("ben"), null);
    for (let now = 0; now < 20000; now += 2000) {
      ben.heard("ana", ana.note(now), now + 3 + 20 * random() + ahead);
      ana.heard("ben", ben.note(now + 900 + ahead), now + 903 + 20 * random());
    }
    const found = ana.ahead("ben");
    check(found !== null && Math.abs(found.ms - ahead) <= found.within && found.within < 12, JSON.stringify(found));
    near(ben.ahead("ana")?.ms ?? 0, -ahead, 12);
    ana.forget("ben");
    equal(ana.ahead("ben"), null);
  },
  "a note that makes no sense says nothing": () => {
    const clocks = new Clocks("ana");
    for (const note of [null, 5, {}, { at: "x" }, { at: NaN, heard: {} }]) clocks.heard("eve", note, 100);
    equal(clocks.note(1).heard, {});
    for (const heard of [null, [], { ana: 5 }, { ana: [1] }, { ana: ["x", 2] }, { ana: [200, 1] }, { ana: [-1e9, 1] }]) {
      clocks.heard("eve", { at: 50, heard }, 100);
      equal(clocks.ahead("eve"), null);
    }
  },
  "an even pace is found under uneven news": () => {
    const [pace, random] = [new Pace(20), dice(8)];
    let found = 0;
    for (let step = 0; step < 500; step += 1) found = pace.add(step, 1000 + step * 20 + 30 * random());
    near(found, 1000 + 499 * 20, 2);
    near(pace.add(600, 90000), 90000, 0);
  },
  "levels": () => {
    near(decibel(rms(tone(480, 0, 48000))), -9.03, 0.01);
    equal(decibel(0), -90);
    const meter = new Meter();
    meter.add(-6, 0);
    near(meter.shown(0), 0.9, 0.001);
    near(meter.shown(500), 0.9 - 20 / 60, 0.001);
    meter.add(-30, 500);
    near(meter.shown(500), 0.9 - 20 / 60, 0.001);
    equal(meter.shown(9000), 0);
    const background = new Background();
    equal(background.amplitude, 0);
    for (const level of [0.5, 0.01, 0.4]) background.add(level);
    equal(background.amplitude, 0.01);
    for (let i = 0; i < 150; i += 1) background.add(0.2);
    equal(background.amplitude, 0.2);
  },
};
