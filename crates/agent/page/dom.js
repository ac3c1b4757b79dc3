// @ts-check
// What all pages make elements with. Text only ever becomes text.

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/**
 * @param {string} name @param {Record<string, string>} [attributes] @param {(Node | string)[]} content
 * @returns {HTMLElement}
 */
export function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

/** Words of others without what is not seen: control characters, marks of direction, characters without width. @param {string} words */
export const plain = (words) => words.replace(/[\p{C}\u2028\u2029]/gu, "\ufffd");

/** A colour for a name, always the same. @param {string} name */
function hue(name) {
  let hash = 7;
  for (const c of name) hash = (hash * 31 + c.charCodeAt(0)) % 360;
  return hash;
}

/** The sign of a person: a letter in the colour of the name. @param {string} name */
export function avatar(name) {
  const made = element("span", { class: "avatar", "aria-hidden": "true" }, name.slice(0, 1).toUpperCase());
  made.style.setProperty("--hue", String(hue(name)));
  return made;
}
