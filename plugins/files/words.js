// @ts-check
// Files in words: sizes, times, and how far somebody is.

/** @typedef {import("./ringfort.js").Transfer} Transfer */

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** @param {number} bytes */
export function size(bytes) {
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** How long the rest takes. @param {number} rest @param {number} perS */
export function left(rest, perS) {
  const s = Math.ceil(rest / perS);
  if (s < 60) return `${s} s left`;
  return s < 5400 ? `${Math.round(s / 60)} min left` : `${(s / 3600).toFixed(1)} h left`;
}

/** @param {string[]} names */
export function list(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}

/** Progress with speed and time. @param {number} done @param {number} bytes @param {number} perS */
function progress(done, bytes, perS) {
  const percent = bytes === 0 ? 100 : Math.floor(done * 100 / bytes);
  return perS > 0 ? `${percent} % · ${size(perS)}/s · ${left(bytes - done, perS)}` : `${percent} %`;
}

/** @param {Transfer} file @param {{state: string, done: number, per_s: number}} peer */
export function peerWords(file, peer) {
  switch (peer.state) {
    case "offered": return "not reached yet";
    case "asked": return "deciding";
    case "receiving": return progress(peer.done, file.bytes, peer.per_s);
    case "paused": return `paused at ${progress(peer.done, file.bytes, 0)}`;
    case "unanswered": return "has a program that takes no files, it seems";
    case "silent": return "does not answer; goes on when it does";
    case "declined": return "declined";
    case "complete": return "has it ✓";
    case "failed": return "could not keep it";
    default: return "left; gets it if they come back";
  }
}

/** What there is to say of a file as a whole. @param {Transfer} file */
export function words(file) {
  const what = size(file.bytes);
  const who = file.own ? `${what} to ${file.to_group ? "everybody" : list(file.peers.map((peer) => peer.user)) || "some"}` : `${what} from ${file.from}`;
  return `${who} · ${stateWords(file)}`;
}

/** @param {Transfer} file */
function stateWords(file) {
  const held = file.sender_paused && !file.own ? `, ${file.from} pauses` : "";
  switch (file.state) {
    case "preparing": return `being read, ${progress(file.done, file.bytes, 0)}`;
    case "offered": return "offered";
    case "sending": case "receiving": return progress(file.done, file.bytes, file.per_s) + held;
    case "paused": return `paused at ${progress(file.done, file.bytes, 0)}`;
    case "sent": return file.peers.every((peer) => peer.state === "complete") ? "everybody has it" : "done";
    case "asked": return `do you want it?${held}`;
    case "opening": return "starting";
    case "verifying": return "checking the hash";
    case "complete": return file.path ? `hash verified, in ${file.path}` : "hash verified";
    case "declined": return "declined";
    case "interrupted": return `${file.from} left at ${progress(file.done, file.bytes, 0)}; it resumes when they offer it again`;
    case "cancelled": return file.own ? "stopped" : `${file.from} has withdrawn it`;
    default: return `failed: ${file.why ?? "it could not be done"}`;
  }
}

/** What is worth saying aloud when a file comes to this state. @param {Transfer} file */
export function aloud(file) {
  switch (file.state) {
    case "asked": return `${file.from} offers ${file.name}, ${size(file.bytes)}.`;
    case "complete": return `${file.name} is here, and its hash is right.`;
    case "sent": return `${file.name}: ${stateWords(file)}.`;
    case "failed": return `${file.name} ${stateWords(file)}.`;
    case "cancelled": case "interrupted": return `${file.name}: ${stateWords(file)}.`;
    default: return "";
  }
}
