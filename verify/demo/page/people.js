// @ts-check
// Sites, the people at them, and what was said under each key. Text only ever becomes text.

import { capital, put } from "./cards.js";
import { avatar, element } from "./dom.js";

/** Lines of one person's conversation. */
const LINES_MAX = 200;

/** The colour of a key: its fingerprint's first digits. @param {string} key */
const hue = (key) => String(parseInt(key.slice(0, 4), 16) % 360);

/** A site, and whom it hears. */
export class Site {
  /** @param {string} name @param {() => void} cut */
  constructor(name, cut) {
    const title = element("h2", { id: `site-${name}-title` }, capital(name));
    this.word = element("span", { class: "word" });
    this.button = /** @type {HTMLButtonElement} */ (element("button", { type: "button", class: "quiet", id: `cut-${name}` }, "Cut off", element("span", { class: "visually-hidden" }, ` ${capital(name)}`)));
    this.button.addEventListener("click", cut);
    this.element = element("section", { class: "site", id: `site-${name}`, "aria-labelledby": title.id },
      element("header", {}, element("span", { class: "lamp", "aria-hidden": "true" }), title, this.word, this.button));
  }

  /** @param {{mood: string, word: string}} site @param {boolean} ready */
  show({ mood, word }, ready) {
    this.element.className = `site ${mood}`;
    if (this.word.textContent !== word) this.word.textContent = word;
    this.button.disabled = !ready;
  }
}

/** A person: who it shares a key with, and what it has heard. */
export class Peer {
  /** @param {string} name @param {(order: object) => void} order */
  constructor(name, order) {
    this.name = name;
    this.shown = 0;
    this.with = "";
    const title = element("h3", { id: `peer-${name}-title` }, capital(name));
    this.colour = element("i", { "aria-hidden": "true" });
    this.digits = element("span", {});
    this.key = element("span", { class: "key" }, this.colour, this.digits);
    this.company = element("span", { class: "with" });
    const button = (/** @type {string} */ id, /** @type {() => object} */ what) => {
      const made = /** @type {HTMLButtonElement} */ (element("button", { type: "button", class: "quiet", id: `${id}-${name}` }));
      made.addEventListener("click", () => order(what()));
      return made;
    };
    this.leave = button("leave", () => ({ do: this.presence === "in" ? "leave" : "return" }));
    this.freeze = button("freeze", () => ({ do: "freeze" }));
    this.presence = "in";
    put(this.freeze, ...label("Freeze", name));
    this.talked = element("div", { class: "talked", role: "log", "aria-live": "off", tabindex: "0", "aria-label": `What ${capital(name)} has heard` });
    this.text = /** @type {HTMLInputElement} */ (element("input", { type: "text", maxlength: "300", autocomplete: "off", placeholder: `Write as ${capital(name)}`, "aria-label": `Write as ${capital(name)}` }));
    this.send = /** @type {HTMLButtonElement} */ (element("button", { class: "quiet", "aria-label": `Send as ${capital(name)}` }, "Send"));
    const form = element("form", {}, this.text, this.send);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.text.value.trim()) order({ do: "say", text: this.text.value });
      this.text.value = "";
    });
    this.element = element("article", { class: "peer", id: `peer-${name}`, "aria-labelledby": title.id },
      element("header", {}, avatar(name), title, element("span", { class: "acts" }, this.leave, this.freeze), element("div", { class: "line" }, this.key, this.company)), this.talked, form);
  }

  /** @param {any} person @param {boolean} started */
  show({ key, members, changing, presence, log }, started) {
    this.presence = presence;
    const outside = presence !== "in";
    this.element.classList.toggle("changing", changing || key === null);
    this.element.classList.toggle("outside", outside);
    const digits = presence === "away" ? "has left" : presence === "frozen" ? "does not answer" : key === null ? "no key yet" : changing ? "makes a new key…" : key;
    if (this.digits.textContent !== digits) this.digits.textContent = digits;
    this.colour.hidden = key === null || changing || outside;
    if (key !== null) this.colour.style.setProperty("--hue", hue(key));
    put(this.leave, ...label(outside ? "Come back" : "Leave", this.name));
    this.leave.disabled = !started;
    this.freeze.disabled = !started || outside;
    this.text.disabled = this.send.disabled = outside;
    const company = outside ? [] : members;
    if (company.join(" ") !== this.with) {
      this.with = company.join(" ");
      this.company.replaceChildren(...company.map(avatar), ...(company.length > 0 ? [element("span", { class: "visually-hidden" }, `${company.length} with this key`)] : []));
    }
    const fresh = log.filter((/** @type {any} */ { n }) => n > this.shown);
    if (fresh.length === 0) return;
    const atEnd = this.talked.scrollHeight - this.talked.scrollTop - this.talked.clientHeight < 40;
    for (const { n, tone, who, text } of fresh) {
      this.shown = n;
      this.talked.append(element("p", { class: tone }, ...(who ? [element("b", {}, `${who}: `)] : []), text));
    }
    while (this.talked.children.length > LINES_MAX) this.talked.firstElementChild?.remove();
    if (atEnd) this.talked.scrollTop = this.talked.scrollHeight;
  }
}

/** Words on a button of a person, with the name for those who do not see where it stands. @param {string} words @param {string} name */
const label = (words, name) => [words, element("span", { class: "visually-hidden" }, ` (${capital(name)})`)];

/** A key, who has it, and what was said under it, in its order. */
export class Talk {
  constructor() {
    this.element = element("article", { class: "spoken" });
  }

  /** @param {any} talk */
  show({ key, now, readable, unreadable, earlier, said }) {
    const colour = element("i", { "aria-hidden": "true" });
    colour.style.setProperty("--hue", hue(key));
    const words = said.map((/** @type {any} */ { place, who, text, read }) => {
      const row = element("li", {}, element("b", {}, `${capital(who)}: `), text, element("span", { class: "read" }, read));
      row.setAttribute("value", String(place));
      return row;
    });
    this.element.classList.toggle("now", now);
    put(this.element,
      element("h3", { class: "key" }, colour, `Key ${key}`, ...(now ? [] : [element("span", {}, "earlier")])),
      element("p", {}, readable),
      ...unreadable.map((/** @type {string} */ why) => element("p", { class: "not" }, why)),
      ...(earlier > 0 ? [element("p", { class: "more" }, `${earlier} earlier messages are not shown.`)] : []),
      words.length > 0 ? element("ol", {}, ...words) : element("p", { class: "more" }, "Nothing was said so far."));
  }
}
