// @ts-check
// The plugins' interface, version 1: what a plugin imports from its own folder as ./ringfort.js.

/**
 * @typedef {object} Message
 * @property {number} n its number: the order of everything this member has seen
 * @property {number} at when it came here, in milliseconds since 1970
 * @property {string} from who sent it
 * @property {string[]} to the recipients if it is private; empty for all
 * @property {string} part the part of the plugin's topic that it was sent on
 * @property {string | null} text its text, or null if it is no text
 * @property {() => Uint8Array} bytes its bytes
 * @property {boolean} own whether this member sent it
 * @property {boolean} past whether it came before this page was opened
 */
/**
 * @typedef {object} View
 * @property {number} n
 * @property {number} at
 * @property {number} epoch
 * @property {string[]} joined
 * @property {{user: string, how: string}[]} left
 * @property {boolean} past
 */
/**
 * @typedef {object} Heard 20 ms of the microphone
 * @property {number} n blocks since it was opened, those that were muted included
 * @property {number} at when it was spoken, as near as can be told, in milliseconds since 1970
 * @property {Float32Array<ArrayBuffer>} samples 960 samples of 48 kHz
 */
/**
 * @typedef {object} SendOptions
 * @property {string[]} [to] only to these members; nobody else can read it
 * @property {string} [part] a part of the topic: letters, digits and '-'
 * @property {boolean} [volatile] do not keep it for pages that reload
 * @property {"best_effort" | "reliable" | "fifo"} [service] the group's own choice if it is missing
 */

/**
 * @typedef {object} Transfer a file on its way
 * @property {number} id
 * @property {boolean} own whether this member sends it
 * @property {string} name
 * @property {number} bytes its length
 * @property {string} state own: preparing, offered, sending, paused, sent, cancelled, failed; of others: asked, opening, receiving, paused, verifying, complete, declined, cancelled, failed, interrupted
 * @property {number} done bytes that have come; of one's own, at the slowest receiver
 * @property {number} per_s bytes a second
 * @property {string} from
 * @property {boolean} to_group
 * @property {{user: string, state: string, done: number, per_s: number}[]} peers its receivers, if it is one's own
 * @property {number} more_peers receivers that are not listed
 * @property {boolean} sender_paused
 * @property {string | null} why what went wrong
 * @property {string | null} path where it lies on this machine
 */

/** A plugin's connection to the group. */
export class Ringfort {
  #port;
  #next = 1;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  #asked = new Map();
  /** @type {Map<string, ((what: any) => void)[]>} */
  #listeners = new Map();
  /** This member's name. */
  you = "";
  /** The group's name. */
  group = "";
  /** The longest message, in bytes. */
  bytesMax = 0;
  /** @type {string[]} Who is in the current view. */
  members = [];
  /** @type {Record<string, string>} Who is no ordinary member by the group's policy, and what then: `receiver`, `sender` or `archive`. */
  roles = {};
  /** This member's own role: `member` or one of those. */
  role = "member";
  /** The current view's number. */
  epoch = 0;
  /** Whether enough leaders confirm the view. */
  confirmed = false;
  /** Whether the stay is over. */
  ended = false;

  /** @param {MessagePort} port */
  constructor(port) {
    this.#port = port;
    port.onmessage = (event) => this.#told(event.data);
  }

  /** Whether this member's role lets it send. */
  get sends() {
    return this.role === "member" || this.role === "sender";
  }

  /** The other members that something can be sent to. */
  get readers() {
    return this.members.filter((name) => name !== this.you && this.roles[name] !== "sender");
  }

  /** @param {any} data */
  #told(data) {
    if (data.type === "answer") {
      const asked = this.#asked.get(data.id);
      this.#asked.delete(data.id);
      if (data.ok) asked?.resolve(data.value);
      else asked?.reject(new Error(data.why));
      return;
    }
    if (data.type === "state") Object.assign(this, data.facts);
    const content = data.type === "message" ? message(data.message) : data[data.type];
    for (const listener of this.#listeners.get(data.type) ?? []) listener(content);
  }

  /**
   * Listens to `message`, `view`, `gap`, `away` (this member was), `state`, `shown` (whether the user sees this plugin), `files` (all transfers of
   * the topic, whenever something about them changes), `current` (all of the past has been told), `microphone` (what
   * became of it) and `heard` (a block of it).
   * @param {"message" | "view" | "gap" | "away" | "state" | "shown" | "files" | "current" | "microphone" | "heard"} name
   * @param {(what: any) => void} listener
   */
  on(name, listener) {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
    return this;
  }

  /** Says that the listeners are there: the past is told, then what comes. */
  start() {
    this.#port.postMessage({ type: "start" });
  }

  /** @param {object} ask @returns {Promise<any>} */
  #ask(ask) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#port.postMessage({ ...ask, id });
    });
  }

  /**
   * Sends on the plugin's topic. Resolves to the message's number once it is on its way.
   * @param {string | Uint8Array} content
   * @param {SendOptions} [options]
   * @returns {Promise<number>}
   */
  send(content, options = {}) {
    return this.#ask({ type: "send", content, options });
  }

  /**
   * Offers a file to all, or to some. Resolves to its number once the agent has read it. Needs `files = true` in the manifest.
   * @param {File | Blob} content
   * @param {{to?: string[], name?: string}} [options]
   * @returns {Promise<number>}
   */
  offer(content, options = {}) {
    return this.#ask({ type: "offer", content, options });
  }

  /**
   * Does something with a file of the topic. `save` gives the user a complete one to keep elsewhere.
   * @param {number} file its number
   * @param {"accept" | "decline" | "pause" | "resume" | "cancel" | "forget" | "save"} action
   */
  file(file, action) {
    return this.#ask({ type: "file", file, action });
  }

  /** Reads a value that was kept. @param {string} key @returns {Promise<any>} */
  async get(key) {
    const value = await this.#ask({ type: "get", key });
    return value === null ? null : JSON.parse(value);
  }

  /** Keeps a value as long as the agent runs; null forgets it. @param {string} key @param {any} value */
  set(key, value) {
    return this.#ask({ type: "set", key, value: value === null ? null : JSON.stringify(value) });
  }

  /**
   * Says what this member does right now: "drawing", say. It stands beside the name at everybody and fades after some
   * seconds, so say it as long as it is true. The empty text ends it at once.
   * @param {string} word
   */
  doing(word) {
    this.#port.postMessage({ type: "doing", word });
  }

  /** Shows a number at the plugin's tab. @param {number} count */
  unread(count) {
    this.#port.postMessage({ type: "unread", count });
  }

  /**
   * Opens or closes the microphone, if the manifest asks for it; the user is asked. Then `heard` tells what it hears.
   * @param {boolean} on @param {{raw?: boolean}} [options] raw: without removal of echo and noise
   * @returns {Promise<void>}
   */
  microphone(on, { raw = false } = {}) {
    return this.#ask({ type: "microphone", on, raw });
  }

  /** Asks the user to open an http(s) address in a new tab. @param {string} url */
  open(url) {
    this.#port.postMessage({ type: "open", url });
  }

  /** Gives the user a file. @param {string} name @param {Blob} content */
  save(name, content) {
    this.#port.postMessage({ type: "save", name, content });
  }
}

/** @param {any} raw @returns {Message} */
function message(raw) {
  const { base64, ...rest } = raw;
  const bytes = () => base64 === null
    ? new TextEncoder().encode(raw.text)
    : Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return { ...rest, bytes };
}

/** Waits for the page that frames this plugin. @returns {Promise<Ringfort>} */
export function connect() {
  return new Promise((resolve) => {
    /** @param {MessageEvent} event */
    const greeted = (event) => {
      if (event.source !== window.parent || event.data?.ringfort !== 1 || event.ports.length !== 1) return;
      window.removeEventListener("message", greeted);
      const ringfort = new Ringfort(event.ports[0]);
      Object.assign(ringfort, event.data.facts);
      resolve(ringfort);
    };
    window.addEventListener("message", greeted);
    window.parent.postMessage({ ringfort: "here" }, "*");
  });
}
