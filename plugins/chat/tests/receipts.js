// Run by crates/agent's tests: node tests/receipts.js
import assert from "node:assert/strict";
import { Receipts } from "../receipts.js";
import { fingerprint } from "../text.js";

const sent = (text, ...to) => ({ text, expected: new Set(to), got: new Set() });

{
  // One report for each message, in their order, and only from those who were to get them.
  const receipts = new Receipts();
  const [first, second, other] = [sent("yes", "ana", "ben"), sent("yes", "ana", "ben"), sent("no", "ben")];
  [first, second, other].forEach((message) => receipts.add(message));
  const [yes, no] = [fingerprint("yes"), fingerprint("no")];
  assert.deepEqual(receipts.report("ana", [yes], 0), [first]);
  assert.deepEqual(receipts.report("ana", [yes, yes, yes, no, 7, null], 0), [second]);
  assert.deepEqual(receipts.report("ben", [no, yes], 0), [other, first]);
  receipts.forget(first);
  assert.deepEqual(receipts.report("ben", [yes, yes], 0), [second]);
  assert.deepEqual(receipts.report("ben", "yes", 0), []);
}
{
  // A member reads as much as it likes into its reports, and the page goes on: 500 own messages of 2,000 characters.
  const receipts = new Receipts();
  for (let n = 0; n < 500; n += 1) receipts.add(sent(`${n} ${"x".repeat(2000)}`, "mal"));
  const hostile = Array.from({ length: 1000 }, (_, n) => n.toString(16).padStart(8, "0"));
  const begun = performance.now();
  for (let n = 0; n < 1000; n += 1) receipts.report("mal", hostile, n);
  assert.ok(performance.now() - begun < 500, `${performance.now() - begun} ms`);
}
{
  // So many reports a second; what another member says is read all the same.
  const receipts = new Receipts();
  const messages = Array.from({ length: 100 }, () => sent("m", "mal", "ben"));
  messages.forEach((message) => receipts.add(message));
  const read = () => receipts.report("mal", [fingerprint("m")], 1000).length;
  assert.equal(Array.from({ length: 50 }, read).reduce((a, b) => a + b), 8);
  assert.equal(receipts.report("ben", [fingerprint("m")], 1000).length, 1);
  assert.equal(receipts.report("mal", [fingerprint("m")], 1250).length, 1);
}
console.log("ok");
