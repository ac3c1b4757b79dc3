// @ts-check
// The list of those who are here: their levels, their volume, and how long sound is on its way.

/** @param {string} id */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {string} name @param {Record<string, string>} attributes @param {(Node | string)[]} content */
function element(name, attributes, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

/** A colour for a name, as the page has it. @param {string} name */
function hue(name) {
  let hash = 7;
  for (const c of name) hash = (hash * 31 + c.charCodeAt(0)) % 360;
  return hash;
}

/** A part that is changed only if it is another. @param {Element} where @param {string} words */
export function write(where, words) {
  if (where.textContent !== words) where.textContent = words;
}

/** @param {Element} meter @param {number} level from 0 to 1 */
export function level(meter, level) {
  /** @type {HTMLElement} */ (meter).style.setProperty("--level", level.toFixed(3));
  const percent = String(Math.round(level * 20) * 5);
  if (meter.getAttribute("aria-valuenow") !== percent) meter.setAttribute("aria-valuenow", percent);
}

/** One of the others. */
export class Person {
  volume = 1;
  muted = false;

  /** @param {string} name @param {() => void} changed its volume or mute */
  constructor(name, changed) {
    const avatar = element("span", { class: "avatar", "aria-hidden": "true" }, name.slice(0, 1).toUpperCase());
    avatar.style.setProperty("--hue", String(hue(name)));
    this.does = element("small", {});
    this.meter = element("div", { class: "meter", role: "meter", "aria-label": `Level of ${name}`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "0" }, element("i", {}));
    this.mute = element("button", { type: "button", class: "quiet", "aria-pressed": "false", "aria-label": `Mute ${name} for me` }, "Mute");
    this.slider = /** @type {HTMLInputElement} */ (element("input", { type: "range", min: "0", max: "2", step: "0.05", value: "1", "aria-label": `Volume of ${name}` }));
    this.way = element("p", { class: "way" });
    this.row = element("li", { class: "person", "data-name": name }, avatar, element("span", { class: "name" }, name, this.does), this.meter,
      element("span", { class: "controls" }, this.mute, element("span", { class: "volume" }, this.slider)), this.way);
    this.mute.addEventListener("click", () => {
      this.set(this.volume, !this.muted);
      changed();
    });
    this.slider.addEventListener("input", () => {
      this.set(Number(this.slider.value), this.muted);
      changed();
    });
  }

  /** @param {number} volume @param {boolean} muted */
  set(volume, muted) {
    this.volume = Number.isFinite(volume) ? Math.min(2, Math.max(0, volume)) : 1;
    this.muted = Boolean(muted);
    this.slider.value = String(this.volume);
    this.mute.setAttribute("aria-pressed", String(this.muted));
    write(this.mute, this.muted ? "Unmute" : "Mute");
  }

  /** @param {boolean} speaking @param {string} does @param {number} amount @param {string} way */
  show(speaking, does, amount, way) {
    this.row.classList.toggle("speaking", speaking);
    write(this.does, does);
    level(this.meter, amount);
    write(this.way, way);
  }
}

/**
 * How long sound of a voice is on its way, in words.
 * @param {import("./hearing.js").Voice} voice @param {{ms: number, within: number} | null} ahead
 */
export function wayWords(voice, ahead) {
  const { report, apart, packets } = voice;
  if (!report || packets.came === 0) return "";
  const all = packets.came + packets.lost;
  const percent = (/** @type {number} */ part) => `${((100 * part) / all).toFixed(1)} %`;
  const ear = apart === null || ahead === null ? "measuring the time to your ear"
    : `${Math.max(0, Math.round(apart + ahead.ms))} ms to your ear (± ${Math.max(1, Math.ceil(ahead.within))})`;
  const losses = packets.lost + report.stats.late > 0 ? `, lost ${percent(packets.lost)}, too late ${percent(report.stats.late)}` : "";
  return `${ear}, of it ${Math.round(report.target / 48)} ms of buffer${losses}`;
}
