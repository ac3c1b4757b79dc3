// @ts-check
// The whiteboard. A stroke is sent when it is finished, and a piece of it every moment while it grows (volatile), so that
// others see it grow. Strokes go on `whiteboard`, pieces and cursors on `whiteboard~live`, a board that is handed over
// goes in private on `whiteboard/board`.

import { connect } from "./ringfort.js";
import { COLORS, KINDS, POINTS_MAX, Scene, author, parse } from "./scene.js";
import { draw, bounds, svg } from "./draw.js";

const LIVE_EVERY_MS = 60;
const LIVE_POINTS_MAX = 400;
const CURSOR_MS = 4000;
/** How strong a stroke is drawn that has only the word of whoever handed it over. */
const HANDED_ALPHA = 0.6;
const NAMES = { pen: "Pen", line: "Line", box: "Box", round: "Circle", text: "Text", eraser: "Eraser" };

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const canvas = /** @type {HTMLCanvasElement} */ (byId("canvas"));
const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
const text = /** @type {HTMLInputElement} */ (byId("text"));

const rf = await connect();
const scene = new Scene();
/** @type {Map<string, {x: number, y: number, until: number, stroke: import("./scene.js").Stroke | null}>} What others do right now. */
const cursors = new Map();
let kind = /** @type {import("./scene.js").Stroke["kind"]} */ ("pen");
let color = 0;
let width = 3;
let zoom = 1;
let [left, top_] = [0, 0];
/** @type {import("./scene.js").Stroke | null} */
let mine = null;
/** @type {Map<number, {x: number, y: number}>} */
const fingers = new Map();
let moving = false;
let drawn = false;
let told = 0;
/** @type {string[]} Who came since the board was last handed over. */
let newcomers = [];
/** Numbers are never used twice, not even by another page of the same member. */
const run = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
let count = 0;

/** @param {unknown} raw @param {string} from @param {number} at */
function take(raw, from, at) {
  const what = /** @type {any} */ (raw);
  if (typeof what?.undo === "string" && author(what.undo) === from) scene.undo(what.undo.slice(0, 60));
  const stroke = parse(what?.stroke, (id) => author(id) === from);
  if (stroke) {
    scene.add(stroke, at);
    const cursor = cursors.get(from);
    if (cursor?.stroke?.id === stroke.id) cursor.stroke = null;
  }
}

rf.on("message", (message) => {
  let what;
  try {
    what = JSON.parse(message.text ?? "");
  } catch {
    return;
  }
  if (message.part === "live") live(what, message);
  else if (message.part === "board" && !message.own && message.to.length > 0 && Array.isArray(what)) {
    // Handed over in private by a member, who answers for it. It replaces nothing that came from its author, and is
    // drawn paler.
    for (const raw of what.slice(0, 1000)) {
      const stroke = parse(raw, () => true);
      if (stroke) scene.addHanded(stroke, message.from, message.at);
    }
  } else if (message.part === "") take(what, message.from, message.at);
  paint();
});

/** @param {any} what @param {any} message */
function live(what, message) {
  if (message.own || typeof what?.x !== "number" || typeof what?.y !== "number" || cursors.size > 256) return;
  const stroke = parse(what.stroke, (id) => author(id) === message.from);
  cursors.set(message.from, { x: what.x, y: what.y, until: Date.now() + CURSOR_MS, stroke });
}

rf.on("view", (view) => {
  for (const { user } of view.left) {
    cursors.delete(user);
    newcomers = newcomers.filter((name) => name !== user);
  }
  if (view.past || view.joined.includes(rf.you) || scene.strokes.length === 0 || rf.role !== "member") return;
  newcomers.push(...view.joined);
  offer();
});
rf.on("state", () => {
  text.disabled = rf.ended || !rf.sends;
});
rf.on("shown", paint);

function offer() {
  byId("hand").hidden = newcomers.length === 0;
  byId("hand-words").textContent = `${newcomers.join(", ")} came later and does not see what was drawn before.`;
}

async function handOver() {
  const to = newcomers.filter((name) => rf.readers.includes(name));
  newcomers = [];
  offer();
  if (!to.length) return;
  /** @type {any[]} */
  let part = [];
  let size = 0;
  const flush = async () => {
    if (part.length) await send(JSON.stringify(part), { part: "board", to });
    [part, size] = [[], 0];
  };
  for (const stroke of scene.strokes) {
    const bytes = JSON.stringify(stroke).length;
    if (size + bytes > Math.min(rf.bytesMax, 60000) || part.length >= 500) await flush();
    part.push(stroke);
    size += bytes + 1;
  }
  await flush();
}

/** @param {string} words @param {import("./ringfort.js").SendOptions} [options] */
async function send(words, options) {
  try {
    await rf.send(words, options);
    byId("error").hidden = true;
  } catch (error) {
    complain(`Not sent: ${error instanceof Error ? error.message : error}`);
  }
}

/** @param {string} words */
function complain(words) {
  byId("error").textContent = words;
  byId("error").hidden = false;
}

/** Where a pointer is on the board. @param {PointerEvent} event */
function place(event) {
  const box = canvas.getBoundingClientRect();
  const round = (/** @type {number} */ n) => Math.round(n * 10) / 10;
  return { x: round((event.clientX - box.left) / zoom + left), y: round((event.clientY - box.top) / zoom + top_) };
}

/** @param {number} x @param {number} y */
function begin(x, y) {
  count += 1;
  return { id: `${rf.you}:${run}-${count}`, t: scene.next(), kind, color, width, points: [x, y], text: "" };
}

/** Shows a stroke of one's own if the others will show it: it is looked at as theirs is. @param {import("./scene.js").Stroke} stroke */
function finish(stroke) {
  const words = JSON.stringify({ stroke });
  const sound = parse(JSON.parse(words).stroke, (id) => author(id) === rf.you);
  if (sound) {
    scene.add(sound);
    send(words);
  } else complain("This stroke cannot be drawn: it is too far out, or too long.");
  paint();
}

canvas.addEventListener("pointerdown", (event) => {
  if (rf.ended || !rf.sends) return;
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  moving = event.shiftKey || event.button === 1 || fingers.size > 1;
  if (moving) {
    mine = null;
    return;
  }
  const { x, y } = place(event);
  if (kind === "text") {
    event.preventDefault();
    openText(event, x, y);
  } else mine = begin(x, y);
});

canvas.addEventListener("pointermove", (event) => {
  const { x, y } = place(event);
  const finger = fingers.get(event.pointerId);
  if (moving && finger) {
    left -= (event.clientX - finger.x) / zoom / fingers.size;
    top_ -= (event.clientY - finger.y) / zoom / fingers.size;
    Object.assign(finger, { x: event.clientX, y: event.clientY });
    paint();
  } else if (mine) {
    if (kind === "pen" || kind === "eraser") mine.points.push(x, y);
    else mine.points = [mine.points[0], mine.points[1], x, y];
    // A very long stroke goes on as the next one.
    if (mine.points.length >= 2 * POINTS_MAX) {
      finish(mine);
      mine = begin(x, y);
    }
    paint();
  }
  tell(x, y);
});

/** Others see the cursor and the stroke that grows. @param {number} x @param {number} y */
function tell(x, y) {
  const now = performance.now();
  if (now - told < LIVE_EVERY_MS || rf.members.length < 2 || rf.ended || !rf.sends) return;
  told = now;
  if (mine) rf.doing("drawing");
  const stroke = mine && { ...mine, points: mine.points.slice(-2 * LIVE_POINTS_MAX) };
  rf.send(JSON.stringify({ x, y, stroke }), { part: "live", volatile: true, service: "best_effort" }).catch(() => {});
}

/** @param {PointerEvent} event */
function up(event) {
  fingers.delete(event.pointerId);
  if (fingers.size === 0) moving = false;
  if (mine) finish(mine);
  mine = null;
}
canvas.addEventListener("pointerup", up);
canvas.addEventListener("pointercancel", up);

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const next = Math.min(8, Math.max(0.1, zoom * Math.exp(-event.deltaY / 500)));
  left += x / zoom - x / next;
  top_ += y / zoom - y / next;
  zoom = next;
  paint();
}, { passive: false });

/** @param {PointerEvent} event @param {number} x @param {number} y */
function openText(event, x, y) {
  const box = canvas.getBoundingClientRect();
  text.style.left = `${event.clientX - box.left}px`;
  text.style.top = `${event.clientY - box.top}px`;
  text.value = "";
  text.hidden = false;
  text.focus();
  text.onkeydown = (key) => {
    if (key.key === "Escape") text.hidden = true;
    if (key.key !== "Enter" || key.isComposing) return;
    text.hidden = true;
    if (text.value.trim()) finish({ ...begin(x, y), text: text.value });
  };
}

function undo() {
  const last = scene.lastOf(rf.you);
  if (!last || rf.ended || !rf.sends) return;
  scene.undo(last.id);
  send(JSON.stringify({ undo: last.id }));
  paint();
}

function paint() {
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(paintNow);
}

function paintNow() {
  drawn = false;
  const scale = window.devicePixelRatio || 1;
  const { clientWidth, clientHeight } = canvas;
  if (canvas.width !== Math.round(clientWidth * scale)) canvas.width = Math.round(clientWidth * scale);
  if (canvas.height !== Math.round(clientHeight * scale)) canvas.height = Math.round(clientHeight * scale);
  const { ink, paper } = paints();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale * zoom, 0, 0, scale * zoom, -left * scale * zoom, -top_ * scale * zoom);
  for (const stroke of scene.strokes) {
    context.globalAlpha = scene.isHanded(stroke.id) ? HANDED_ALPHA : 1;
    draw(context, stroke, ink, paper);
  }
  context.globalAlpha = 1;
  const now = Date.now();
  for (const [name, cursor] of cursors) {
    if (cursor.until < now) cursors.delete(name);
    else {
      if (cursor.stroke) draw(context, cursor.stroke, ink, paper);
      context.fillStyle = context.strokeStyle = ink;
      context.beginPath();
      context.arc(cursor.x, cursor.y, 4 / zoom, 0, 2 * Math.PI);
      context.fill();
      context.font = `${12 / zoom}px system-ui, sans-serif`;
      context.textBaseline = "bottom";
      context.fillText(name, cursor.x + 7 / zoom, cursor.y - 4 / zoom);
    }
  }
  if (mine) draw(context, mine, ink, paper);
  const full = byId("full");
  full.hidden = scene.crowded.size === 0;
  const crowded = [...scene.crowded].map((name) => (name === rf.you ? "you" : name)).join(", ");
  const told = `The board is full. The oldest strokes from those who drew most are gone: ${crowded}.`;
  if (!full.hidden && full.textContent !== told) full.textContent = told;
  byId("home").textContent = `${Math.round(zoom * 100)} %`;
}

function paints() {
  const style = getComputedStyle(document.documentElement);
  return { ink: getComputedStyle(document.body).color, paper: getComputedStyle(canvas).backgroundColor || style.backgroundColor };
}

function png() {
  const { left, top, right, bottom } = bounds(scene.strokes);
  const [w, h] = [right - left + 40, bottom - top + 40];
  const scale = Math.min(2, 8000 / Math.max(w, h));
  const made = Object.assign(document.createElement("canvas"), { width: Math.ceil(w * scale), height: Math.ceil(h * scale) });
  const to = /** @type {CanvasRenderingContext2D} */ (made.getContext("2d"));
  const { ink, paper } = paints();
  to.fillStyle = paper;
  to.fillRect(0, 0, made.width, made.height);
  to.setTransform(scale, 0, 0, scale, (20 - left) * scale, (20 - top) * scale);
  for (const stroke of scene.strokes) draw(to, stroke, ink, paper);
  made.toBlob((blob) => blob && rf.save("whiteboard.png", blob), "image/png");
}

/** @param {string} where @param {string} label @param {string} look @param {() => boolean} is @param {() => void} choose */
function choice(where, label, look, is, choose) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = look;
  made.setAttribute("aria-label", label);
  if (look === "tool") made.textContent = label;
  made.addEventListener("click", () => {
    choose();
    for (const show of shows) show();
  });
  const show = () => made.setAttribute("aria-pressed", String(is()));
  shows.push(show);
  show();
  byId(where).append(made);
  return made;
}
/** @type {(() => void)[]} */
const shows = [];
for (const one of KINDS) {
  const tool = /** @type {import("./scene.js").Stroke["kind"]} */ (one);
  choice("kinds", NAMES[tool], "tool", () => kind === tool, () => (kind = tool));
}
COLORS.forEach((paint, index) => {
  const name = ["Black or white", "Red", "Orange", "Green", "Blue", "Violet"][index];
  const made = choice("colors", name, "color", () => color === index, () => (color = index));
  made.style.setProperty("--it", paint === "ink" ? "var(--ink)" : paint);
});
byId("width").addEventListener("input", (event) => (width = Number(/** @type {HTMLInputElement} */ (event.target).value)));
byId("undo").addEventListener("click", undo);
byId("home").addEventListener("click", () => {
  [zoom, left, top_] = [1, 0, 0];
  paint();
});
byId("png").addEventListener("click", png);
byId("svg").addEventListener("click", () => {
  const { ink, paper } = paints();
  rf.save("whiteboard.svg", new Blob([svg(scene.strokes, ink, paper)], { type: "image/svg+xml" }));
});
byId("hand-yes").addEventListener("click", handOver);
byId("hand-no").addEventListener("click", () => {
  newcomers = [];
  offer();
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && event.target !== text) {
    event.preventDefault();
    undo();
  }
});
new ResizeObserver(paint).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
setInterval(() => cursors.size && paint(), 1000);
// For tests and the curious: the same text at everybody who has the same board.
Object.assign(globalThis, { boardDigest: () => scene.digest });
rf.start();
