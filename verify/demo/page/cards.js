// @ts-check
// The leaders' cards and the members' frames. Text only ever becomes text.

import { avatar, element } from "./dom.js";

/** @param {string} name */
export function capital(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** Replaces what is there only if it is another: a screen reader and a pointer keep their place. @param {HTMLElement} place @param {(Node | string)[]} content */
export function put(place, ...content) {
  const fresh = element("div", {}, ...content);
  if (fresh.innerHTML !== place.innerHTML) place.replaceChildren(...fresh.childNodes);
}

/** A leader, what it does and what came of it. */
export class Card {
  /** @param {number} number @param {(order: "attack" | "stop" | "recover", leader: number) => void} order */
  constructor(number, order) {
    this.word = element("span", { class: "word" });
    this.ears = element("div", { class: "ears" });
    this.body = element("div", { class: "body", tabindex: "0", role: "group", "aria-label": `What leader ${number} does` });
    const button = (/** @type {"attack" | "stop" | "recover"} */ what, /** @type {string} */ style, /** @type {string} */ text) => {
      const made = /** @type {HTMLButtonElement} */ (element("button", { type: "button", class: `${style} ${what}`, "aria-label": `${text} leader ${number}` }, text));
      made.addEventListener("click", () => order(what, number));
      return made;
    };
    this.attack = button("attack", "evil", "Take over");
    this.stop = button("stop", "quiet", "Switch off");
    this.recover = button("recover", "quiet", "Recover");
    const title = element("h2", { id: `leader-${number}-title` }, `Leader ${number}`);
    this.element = element("article", { class: "card", id: `leader-${number}`, "aria-labelledby": title.id },
      element("header", {}, element("span", { class: "lamp", "aria-hidden": "true" }), title, this.word),
      // The buttons stand above the text that grows: nothing moves under a pointer.
      this.ears, element("div", { class: "buttons" }, this.attack, this.stop, this.recover), this.body);
  }

  /** @param {any} leader */
  show(leader) {
    const { mood, word, runs, does, attack, seen, outcome, tried, heard } = leader;
    this.element.className = `card ${mood}`;
    put(this.word, word);
    const hearing = Object.entries(heard);
    put(this.ears, ...hearing.map(([name, hears]) => {
      const made = avatar(name);
      made.classList.toggle("deaf", !hears);
      return made;
    }), `confirmed to ${hearing.filter(([, hears]) => hears).length} of ${hearing.length}`);
    const lines = [];
    if (runs === "hacked") {
      lines.push(element("p", { class: "does" }, `${attack}: it ${does}.`));
      if (tried > 0 && seen.length === 0 && !outcome) lines.push(element("p", { class: "more" }, `${tried} attempts so far.`));
      if (outcome) lines.push(element("p", {}, outcome));
    }
    if (runs === "stopped") lines.push(element("p", {}, "The others do its work."));
    if (runs === "honest" && seen.length === 0) lines.push(element("p", { class: "more" }, mood === "waking" ? "Members log in to it." : "Manages the group with the others. Cannot read it."));
    if (runs === "honest" && seen.length > 0) lines.push(element("p", { class: "more" }, "Clean again. Members remember that it cheated:"));
    for (const { by, what, times } of seen.slice(0, 2)) {
      lines.push(element("p", { class: "seen" }, element("b", {}, `${capital(by)}: `), `it ${what}.`, element("span", { class: "more" }, times > 1 ? ` ×${times}` : "")));
    }
    put(this.body, ...lines);
    this.stop.disabled = runs === "stopped";
    this.recover.disabled = runs === "honest";
  }
}

/** A member's own page, in a frame. */
export class Person {
  /** @param {string} name @param {() => void} join */
  constructor(name, join) {
    this.name = name;
    this.url = "";
    this.view = element("span", { class: "view" });
    this.again = element("button", { type: "button", class: "primary" }, "Join again");
    this.again.addEventListener("click", join);
    this.words = element("p", {}, "Joining…");
    this.waiting = element("div", { class: "waiting" }, this.words, this.again);
    this.element = element("article", { class: "person", id: `member-${name}`, "aria-label": `${capital(name)}'s own page` },
      element("header", {}, avatar(name), element("h2", {}, capital(name)), this.view), this.waiting);
  }

  /** @param {any} member */
  show({ url, present, expelled, epoch, confirmed }) {
    if (url && url !== this.url) {
      this.url = url;
      this.frame?.remove();
      this.frame = element("iframe", { title: `${capital(this.name)}'s page`, src: url, referrerpolicy: "no-referrer" });
      this.element.append(this.frame);
    }
    const out = Boolean(url) && !present;
    if (this.frame) this.frame.hidden = out;
    this.waiting.hidden = present && Boolean(url);
    this.again.hidden = !out || expelled;
    const gone = `${capital(this.name)} is not in the group any more.`;
    const forGood = " Who was expelled cannot join again, here as in a real group. To start over, end the demo with Ctrl-C and run it again.";
    put(this.words, !out ? "Joining…" : expelled ? gone + forGood : gone);
    put(this.view, !present ? "" : confirmed ? `key ${epoch ?? "…"}` : "too few leaders confirm");
    this.view.classList.toggle("bad", present && !confirmed);
  }
}
