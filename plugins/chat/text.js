// @ts-check
// Text: links in it, hits of a search, and a short fingerprint.

const LINK = /https?:\/\/[^\s<>"'`]+/g;

/** Splits a text into plain parts and links. @param {string} text @returns {{text: string, link: boolean}[]} */
export function withLinks(text) {
  const parts = [];
  let done = 0;
  for (const match of text.matchAll(LINK)) {
    // A full stop or a bracket behind an address belongs to the sentence.
    const link = match[0].replace(/[.,;:!?)\]}]+$/, "");
    if (!URL.canParse(link)) continue;
    if (match.index > done) parts.push({ text: text.slice(done, match.index), link: false });
    parts.push({ text: link, link: true });
    done = match.index + link.length;
  }
  if (done < text.length) parts.push({ text: text.slice(done), link: false });
  return parts;
}

/** Splits a text at what was searched. @param {string} text @param {string} wanted @returns {{text: string, hit: boolean}[]} */
export function withHits(text, wanted) {
  if (!wanted) return [{ text, hit: false }];
  const parts = [];
  const [low, key] = [text.toLowerCase(), wanted.toLowerCase()];
  // Some letters change their length; then nothing is marked, but the message is still found.
  if (low.length !== text.length) return [{ text, hit: false }];
  let done = 0;
  for (let at = low.indexOf(key); at >= 0; at = low.indexOf(key, done)) {
    if (at > done) parts.push({ text: text.slice(done, at), hit: false });
    parts.push({ text: text.slice(at, at + key.length), hit: true });
    done = at + key.length;
  }
  if (done < text.length) parts.push({ text: text.slice(done), hit: false });
  return parts;
}

/** A short fingerprint of a text, to say which message has come. @param {string} text */
export function fingerprint(text) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

/** @param {string[]} names */
export function list(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}
