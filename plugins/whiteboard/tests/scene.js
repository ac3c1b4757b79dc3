// Run by crates/agent's tests: node tests/scene.js
import assert from "node:assert/strict";
import { Scene, author, parse } from "../scene.js";

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
assert.equal(parse({ ...stroke("ana:abc-1", "x") }, (id) => author(id) !== "ana"), null);
console.log("ok");
