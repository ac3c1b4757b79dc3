// Run by crates/agent's tests: node tests/scene.js
import assert from "node:assert/strict";
import { AHEAD_MS, POINTS_MAX, Scene, author, parse } from "../scene.js";

const stroke = (id, text) => parse({ id, t: 5, kind: "text", color: 0, width: 3, points: [1, 2], text }, () => true);
const words = (scene) => scene.strokes.map(({ text }) => text);

{
  // What somebody else hands over never replaces what came from its author, whatever its text.
  const scene = new Scene();
  scene.add(stroke("ana:abc-1", "meet at NOON, gate A"));
  assert.equal(scene.addHanded(stroke("ana:abc-1", "a MIDNIGHT, gate B")), false);
  assert.deepEqual(words(scene), ["meet at NOON, gate A"]);
  assert.ok(!scene.isHanded("ana:abc-1"));
}
{
  // It fills a gap, is marked, and gives way to the author.
  const scene = new Scene();
  assert.ok(scene.addHanded(stroke("ana:abc-1", "meet at MIDNIGHT, gate B")));
  assert.equal(scene.addHanded(stroke("ana:abc-1", "a third word")), false);
  assert.ok(scene.isHanded("ana:abc-1"));
  assert.ok(scene.add(stroke("ana:abc-1", "meet at NOON, gate A")));
  assert.deepEqual(words(scene), ["meet at NOON, gate A"]);
  assert.ok(!scene.isHanded("ana:abc-1"));
}
{
  // Of two strokes of one number the first from the author counts.
  const scene = new Scene();
  scene.add(stroke("ana:abc-1", "first"));
  assert.equal(scene.add(stroke("ana:abc-1", "a second")), false);
  assert.deepEqual(words(scene), ["first"]);
}

/** A page: it draws, and takes what others send as board.js does. */
class Page {
  scene = new Scene();
  count = 0;
  constructor(you) {
    this.you = you;
  }
  draw(others, now) {
    const id = `${this.you}:x-${(this.count += 1)}`;
    const drawn = { id, t: this.scene.next(now), kind: "pen", color: 0, width: 3, points: [1, 1, 2, 2], text: "" };
    this.scene.add(parse(drawn, () => true), now);
    for (const other of others) other.take(drawn, this.you, now);
    return id;
  }
  take(raw, from, at) {
    const taken = parse(raw, (id) => author(id) === from);
    if (taken) this.scene.add(taken, at);
  }
  sees(id) {
    return this.scene.strokes.some((one) => one.id === id);
  }
}
const far = (id, more = {}) => ({ id, t: 2 ** 50 - 1, kind: "pen", color: 0, width: 1, points: [0, 0], text: "", ...more });
const NOW = 1_800_000_000_000;

{
  // A stroke from the end of all time, to everybody or to one alone, silences nobody and hides nothing for long.
  const [ana, ben, cy] = ["ana", "ben", "cy"].map((name) => new Page(name));
  ana.scene.addHanded(parse(far("mal:z-1"), () => true), "mal", NOW);
  for (const page of [ana, ben, cy]) page.take(far("mal:z-2"), "mal", NOW);
  for (const page of [ana, ben, cy]) {
    const others = [ana, ben, cy].filter((one) => one !== page);
    const id = page.draw(others, NOW + 1);
    for (const one of [ana, ben, cy]) assert.ok(one.sees(id), `${one.you} does not see what ${page.you} drew`);
  }
  const id = ana.draw([ben, cy], NOW + AHEAD_MS + 1);
  for (const page of [ana, ben, cy]) assert.equal(page.scene.strokes.at(-1).id, id, "it lies above what was sent before");
}
{
  // Who fills the board fills its own part of it, also with what it hands over, and with few long strokes.
  const ana = new Page("ana");
  const first = ana.draw([], NOW);
  for (let n = 0; n < 30000; n += 1) ana.take(far(`mal:a-${n}`), "mal", NOW);
  for (let n = 0; n < 30000; n += 1) ana.scene.addHanded(parse(far(`ana:a-${n}`), () => true), "mal", NOW);
  const long = Array.from({ length: 2 * POINTS_MAX }, () => 0);
  for (let n = 0; n < 1000; n += 1) ana.take(far(`eve:l-${n}`, { points: long }), "eve", NOW);
  assert.ok(ana.sees(first) && ana.sees(ana.draw([], NOW)));
  assert.ok(ana.sees("mal:a-29999") === false && ana.sees("eve:l-999"));
  const points = ana.scene.strokes.reduce((sum, one) => sum + one.points.length / 2, 0);
  assert.ok(points <= 500000, `${points} points are kept`);
  assert.deepEqual([...ana.scene.crowded].sort(), ["eve", "mal"]);
}
{
  // Undone strokes that never were do not keep others from undoing theirs.
  const ana = new Page("ana");
  for (let n = 0; n < 30000; n += 1) ana.scene.undo(`mal:u-${n}`);
  const id = ana.draw([], NOW);
  ana.scene.undo(id);
  assert.ok(!ana.sees(id));
  assert.equal(ana.scene.addHanded(parse(far(id), () => true), "ben", NOW), false, "an undone stroke is not handed over again");
}
assert.equal(parse({ ...stroke("ana:abc-1", "x") }, (id) => author(id) !== "ana"), null);
console.log("ok");
