// @ts-check
// What stands around the plugins: members, leaders, trust, and the journal. Text only ever becomes text.

import { avatar, byId, element, plain } from "./dom.js";

/** @param {number} ms */
export function age(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  return s < 120 ? `${s} s` : s < 7200 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
}

/** @param {number} at */
export function clock(at) {
  return new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** The ring: one arc per leader, and how many confirm in the middle. @param {{mood: string, number: number, word: string}[]} leaders @param {number} confirming */
export function ring(leaders, confirming) {
  const svg = "http://www.w3.org/2000/svg";
  const drawn = document.createElementNS(svg, "svg");
  drawn.setAttribute("viewBox", "0 0 80 80");
  drawn.setAttribute("role", "img");
  drawn.setAttribute("aria-label", `${confirming} of ${leaders.length} leaders confirm`);
  const gap = leaders.length > 1 ? 0.16 : 0.001;
  const step = (2 * Math.PI) / Math.max(1, leaders.length);
  leaders.forEach((leader, i) => {
    const [from, to] = [i * step + gap / 2 - Math.PI / 2, (i + 1) * step - gap / 2 - Math.PI / 2];
    const at = (/** @type {number} */ angle) => `${(40 + 34 * Math.cos(angle)).toFixed(2)} ${(40 + 34 * Math.sin(angle)).toFixed(2)}`;
    const arc = document.createElementNS(svg, "path");
    arc.setAttribute("d", `M${at(from)}A34 34 0 ${to - from > Math.PI ? 1 : 0} 1 ${at(to)}`);
    arc.setAttribute("class", leader.mood);
    drawn.append(arc);
  });
  const number = document.createElementNS(svg, "text");
  number.setAttribute("x", "40");
  number.setAttribute("y", "47");
  number.textContent = `${confirming}/${leaders.length}`;
  drawn.append(number);
  return drawn;
}

/** @type {Record<string, string>} What a role means. */
const ROLES = {
  receiver: "receives and does not send",
  sender: "sends to all who receive, and can read nothing",
  archive: "keeps what is said: receives and does not send",
};

/** What you may not do, if anything. @param {string} role */
export function showRole(role) {
  const shown = byId("role");
  shown.hidden = !(role in ROLES);
  const words = role in ROLES ? `Your role: ${role}, which ${ROLES[role]}` : "";
  if (shown.textContent !== words) shown.textContent = words;
}

/**
 * @param {string[]} members @param {Record<string, string>} roles of those who are no ordinary members @param {string} you @param {Map<string, string>} doing what each does right now
 * @param {{has: (member: string) => boolean, open: (member: string) => void}} requests to expel somebody
 */
export function showMembers(members, roles, you, doing, requests) {
  byId("member-count").textContent = String(members.length);
  const item = (/** @type {string} */ name) => {
    const role = roles[name] ? [" ", element("span", { class: "role", title: ROLES[roles[name]] ?? "" }, roles[name])] : [];
    const label = element("span", {}, name, ...(name === you ? [element("span", { class: "muted" }, " (you)")] : []), ...role);
    const does = doing.get(name);
    const more = element("button", { type: "button", class: "more", "aria-label": `About ${name}`, "aria-haspopup": "dialog" }, "\u22ef");
    more.addEventListener("click", () => requests.open(name));
    const note = requests.has(name) ? [element("span", { class: "asked" }, "to be expelled?")] : does ? [element("span", { class: "doing" }, does)] : [];
    return element("li", { "data-member": name }, avatar(name), label, ...note, more);
  };
  // It is drawn anew often: whoever is on a button of it stays there.
  const focused = document.activeElement?.closest("[data-member]")?.getAttribute("data-member");
  byId("members").replaceChildren(...members.map(item));
  if (focused) /** @type {HTMLElement | null} */ (byId("members").querySelector(`[data-member="${focused}"] .more`))?.focus();
}

/** @param {{number: number, address: string, mood: string, word: string, detail: string}[]} leaders */
export function showLeaders(leaders) {
  const list = byId("leaders");
  const open = new Set([...list.querySelectorAll("details[open]")].map((d) => d.getAttribute("data-number")));
  list.replaceChildren(...leaders.map((leader) => {
    const number = String(leader.number);
    const summary = element("summary", {},
      element("span", { class: "light", "aria-hidden": "true" }),
      element("span", {}, `Leader ${number}`),
      element("span", { class: "word" }, leader.word));
    const details = element("details", { "data-number": number }, summary, element("p", {}, leader.detail), element("p", {}, leader.address));
    if (open.has(number) || leader.mood === "caught" && !list.querySelector(`[data-number="${number}"][data-mood="caught"]`)) {
      details.setAttribute("open", "");
    }
    details.setAttribute("data-mood", leader.mood);
    return element("li", { class: leader.mood }, details);
  }));
}

/** @param {any} state @param {number} period_s */
export function showTrust(state, period_s) {
  const { confirming, needed, leaders, confirmed, confirmation, epoch } = state;
  byId("ring").replaceChildren(ring(leaders, confirming));
  byId("trust-line").textContent = confirmed ? "The leaders agree on who is here"
    : confirmation === "believed" ? "Too few leaders to change who is here" : "Not enough leaders agree";
  byId("trust-need").textContent = `${confirming} of ${leaders.length} confirm; ${needed} are needed`;
  byId("top-trust").textContent = `${confirming}/${leaders.length} leaders confirm`;
  byId("top-trust").classList.toggle("bad", !confirmed);
  byId("epoch").textContent = epoch === null ? "–" : String(epoch);
  showKey(state, period_s);
}

/** @param {any} state @param {number} period_s */
export function showKey(state, period_s) {
  const since = state.key_since_ms;
  byId("key-age").textContent = since === null ? "–" : age(Date.now() - since);
  const left = since === null || !period_s ? null : period_s * 1000 - (Date.now() - since);
  byId("next-key").textContent = !state.confirmed ? "waits" : left === null ? "on change" : left > 0 ? `in ${age(left)}` : "due";
}

/** What is kept of what the agent says, of views, and of what members say: none of them pushes out another. */
const JOURNAL_MAX = { agent: 1000, views: 1000, members: 200 };

/** The journal: who came and went, and what was refused. */
export class Journal {
  /** @type {Record<keyof typeof JOURNAL_MAX, HTMLElement[]>} */
  #kept = { agent: [], views: [], members: [] };

  constructor() {
    this.list = element("ol", { "aria-live": "polite", "aria-relevant": "additions" });
    this.element = element("section", { class: "journal", role: "tabpanel", id: "panel-journal", "aria-labelledby": "tab-journal", tabindex: "0" },
      element("h2", {}, "What happened"),
      element("p", { class: "muted" }, "Who came and went, new keys, and what was tried and refused. Newest first."),
      this.list);
  }

  clear() {
    this.list.replaceChildren();
    this.#kept = { agent: [], views: [], members: [] };
  }

  /** @param {number} at @param {string} words @param {boolean} warning @param {keyof typeof JOURNAL_MAX} [whose] who can cause such lines */
  add(at, words, warning, whose = "agent") {
    const line = element("li", warning ? { class: "warning" } : {}, element("time", { datetime: new Date(at).toISOString() }, clock(at)), element("span", {}, plain(words)));
    this.list.prepend(line);
    const kept = this.#kept[whose];
    kept.push(line);
    if (kept.length > JOURNAL_MAX[whose]) kept.shift()?.remove();
  }
}

/** @param {any} record that this member was away */
export function awayWords({ since_ms: since, until_ms: until }) {
  return `You were away for ${age(until - since)}, from ${clock(since)} to ${clock(until)}. What was said then is not here.`;
}

/** @param {any} record a view @param {string} you */
export function viewWords({ joined, left, epoch }, you) {
  const told = [
    ...joined.map((/** @type {string} */ name) => name === you ? "you joined" : `${name} joined`),
    ...left.map((/** @type {any} */ gone) => `${gone.user} ${gone.how}`),
  ];
  const words = told.length ? told.join(", ") : "the group has a new key";
  return `${words[0].toUpperCase()}${words.slice(1)} (view ${epoch}).`;
}
