// @ts-check
// Plugins in their frames. A frame has an origin of its own and no cookie: all it can reach is its port.

import { Kept } from "./kept.js";

/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {{id: string, name: string, topic: string, description: string, url: string, files: boolean, microphone: boolean}} Facts */
/** @typedef {import("./microphone.js").Microphone} Microphone */

/** Records kept for a frame that loads again, and characters of them: as many as the agent keeps. */
const KEPT_MAX = 20000;
const KEPT_CHARS_MAX = 16 * 1024 * 1024;
/** Asks of one frame that wait for the agent. */
const WAITING_MAX = 256;
/** What a member does is told again after this long, as long as it is true. */
export const DOING_EVERY_MS = 2000;
/** The part of every plugin's topic for that. No plugin can send on it by itself. */
export const DOING = "~.doing";
/** What may stand beside a name: one word for what somebody does, which nobody takes for one of the page's own. */
export const DOING_WORD = /^[a-z]{1,20}ing$/;
const PART = /^[A-Za-z0-9-]{0,20}$/;
const SERVICES = ["best_effort", "reliable", "fifo"];

/** @param {Uint8Array} bytes */
function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** A file name that is nothing but a name. @param {string} name */
export function safeName(name) {
  const plain = name.normalize("NFC").replace(/[\p{C}\\/:*?"<>|]/gu, "_").replace(/^[.\s]+|[.\s]+$/g, "");
  return plain.slice(0, 120) || "file";
}

export class Frame {
  /** @type {MessagePort | null} */
  #port = null;
  #started = false;
  #waiting = 0;
  /** @type {Kept<any>} */
  #records = new Kept(KEPT_MAX, KEPT_CHARS_MAX);
  #current = 0;
  #shown = false;
  /** @type {any[]} */
  #files = [];
  unread = 0;
  #doing = { word: "", at: -Infinity };

  /**
   * @param {Facts} facts
   * @param {Connection} connection
   * @param {{unread: (frame: Frame) => void, open: (frame: Frame, url: string) => void, microphone: Microphone}} host
   * @param {() => {role: string}} state what the plugin is told of the stay
   */
  constructor(facts, connection, host, state) {
    this.facts = facts;
    this.connection = connection;
    this.host = host;
    this.state = state;
    this.element = document.createElement("iframe");
    this.element.setAttribute("sandbox", "allow-scripts");
    this.element.setAttribute("referrerpolicy", "no-referrer");
    // A plugin for sound may go on to play after a reload.
    if (facts.microphone) this.element.allow = "autoplay";
    this.element.title = facts.name;
    this.element.src = facts.url;
    this.panel = document.createElement("div");
    this.panel.append(this.element);
    window.addEventListener("message", (event) => {
      if (event.source === this.element.contentWindow && event.data?.ringfort === "here" && (!this.#port || connection.open)) this.#greet();
    });
  }

  #greet() {
    this.#port?.close();
    this.host.microphone.close(this);
    this.#started = false;
    this.#waiting = 0;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = (event) => this.#asked(event.data, port1);
    // The frame's origin is opaque and has no name; the port goes to this very frame.
    this.element.contentWindow?.postMessage({ ringfort: 1, facts: this.state() }, "*", [port2]);
  }

  /** A record from the agent: of this plugin's topic, or a view. @param {any} record @param {number} live first number that is not the past */
  take(record, live) {
    this.#current = live;
    const kept = record.kind !== "message" || !record.topic.includes("~");
    if (kept) this.#records.add(record, record.kind === "message" ? record.from : "", 100 + (record.text ?? record.base64 ?? "").length);
    if (this.#started) this.#pass(record);
  }

  /** All files of this plugin's topic. @param {any[]} files */
  takeFiles(files) {
    this.#files = files;
    if (this.#started) this.#port?.postMessage({ type: "files", files });
  }

  /** All records of another run are void. */
  forget() {
    this.#records.clear();
    this.host.microphone.close(this);
    this.element.src = this.facts.url;
  }

  tellState() {
    if (this.#started) this.#port?.postMessage({ type: "state", facts: this.state() });
  }

  /** What its user said to the microphone. @param {{n: number, at: number, samples: Float32Array<ArrayBuffer>}} heard */
  hear(heard) {
    if (this.#started) this.#port?.postMessage({ type: "heard", heard }, [heard.samples.buffer]);
  }

  /** @param {{open: boolean, muted: boolean, why: string}} microphone */
  tellMicrophone(microphone) {
    if (this.#started) this.#port?.postMessage({ type: "microphone", microphone });
  }

  /** @param {boolean} shown */
  show(shown) {
    this.#shown = shown;
    this.panel.setAttribute("aria-hidden", String(!shown));
    this.element.tabIndex = shown ? 0 : -1;
    if (this.#started) this.#port?.postMessage({ type: "shown", shown });
  }

  #start() {
    this.#started = true;
    for (const record of this.#records) this.#pass(record);
    if (this.facts.files) this.#port?.postMessage({ type: "files", files: this.#files });
    this.#port?.postMessage({ type: "current", current: null });
    this.#port?.postMessage({ type: "shown", shown: this.#shown });
  }

  /** @param {any} record */
  #pass(record) {
    const { n, at_ms: at, kind } = record;
    const past = n < this.#current;
    if (kind === "message") {
      const part = record.topic.slice(this.facts.topic.length + 1);
      const { from, to, text = null, base64 = null, own } = record;
      this.#port?.postMessage({ type: "message", message: { n, at, from, to, part, text, base64, own, past } });
    } else if (kind === "view") {
      const { epoch, joined, left } = record;
      this.#port?.postMessage({ type: "view", view: { n, at, epoch, joined, left, past } });
    } else if (kind === "away") {
      this.#port?.postMessage({ type: "away", away: { n, at, since: record.since_ms, until: record.until_ms, past } });
    } else if (kind === "gap") {
      this.#port?.postMessage({ type: "gap", gap: { n, at, from: record.from, count: record.count, past } });
    }
  }

  /** What the plugin asks. Nothing of it is believed. @param {any} data @param {MessagePort} port */
  #asked(data, port) {
    const ask = data !== null && typeof data === "object" ? data : {};
    switch (ask.type) {
      case "start": if (!this.#started) this.#start(); break;
      case "send": this.#answer(port, ask.id, () => this.#send(ask.content, ask.options ?? {})); break;
      case "get": this.#answer(port, ask.id, async () => {
        return (await this.connection.ask({ type: "get", plugin: this.facts.id, key: String(ask.key) })).value ?? null;
      }); break;
      case "set": this.#answer(port, ask.id, async () => {
        const value = ask.value === null ? null : String(ask.value);
        await this.connection.ask({ type: "set", plugin: this.facts.id, key: String(ask.key), value });
      }); break;
      case "unread": {
        const count = Number(ask.count);
        this.unread = Number.isSafeInteger(count) && count > 0 ? count : 0;
        this.host.unread(this);
        break;
      }
      case "doing": this.#does(String(ask.word ?? "")); break;
      case "microphone": this.#answer(port, ask.id, async () => {
        if (ask.on) this.#needAgent();
        if (ask.on) await this.host.microphone.open(this, Boolean(ask.raw));
        else this.host.microphone.close(this);
      }); break;
      case "open": this.host.open(this, String(ask.url)); break;
      case "offer": this.#answer(port, ask.id, () => this.#offer(ask.content, ask.options ?? {})); break;
      case "file": this.#answer(port, ask.id, () => this.#file(Number(ask.file), String(ask.action))); break;
      case "save": if (ask.content instanceof Blob) save(safeName(String(ask.name)), ask.content); break;
    }
  }

  /** @param {string} word */
  #does(word) {
    // It would be told to those who may not know of it, or by somebody who does not send.
    if (this.state().role !== "member" || (word !== "" && !DOING_WORD.test(word))) return;
    const now = performance.now();
    const wait = word === this.#doing.word ? DOING_EVERY_MS : word === "" ? 0 : 250;
    if (now - this.#doing.at < wait || (word === "" && this.#doing.word === "")) return;
    this.#doing = { word, at: now };
    const topic = this.facts.topic + DOING;
    this.connection.ask({ type: "send", topic, text: word, service: "best_effort" }).catch(() => {});
  }

  /** @param {MessagePort} port @param {any} id @param {() => Promise<any>} work */
  async #answer(port, id, work) {
    if (this.#waiting >= WAITING_MAX) {
      port.postMessage({ type: "answer", id, ok: false, why: "too many asks are waiting" });
      return;
    }
    this.#waiting += 1;
    try {
      port.postMessage({ type: "answer", id, ok: true, value: await work() });
    } catch (error) {
      port.postMessage({ type: "answer", id, ok: false, why: error instanceof Error ? error.message : "it failed" });
    }
    this.#waiting -= 1;
  }

  /** What does not go over the socket goes to the agent, too, and to nobody who has taken its port. */
  #needAgent() {
    if (!this.connection.open) throw new Error("there is no connection to your agent");
  }

  /** Hands a file to the agent, as it comes from the disk. @param {any} content @param {any} options */
  async #offer(content, options) {
    if (!this.facts.files) throw new Error("this plugin exchanges no files: its manifest does not say so");
    if (!(content instanceof Blob)) throw new Error("what is offered is a File or a Blob");
    this.#needAgent();
    const name = String(options.name ?? (content instanceof File ? content.name : "file"));
    const to = Array.isArray(options.to) ? options.to.map(String).join(",") : "";
    const query = new URLSearchParams({ name, to });
    const answer = await fetch(`files/${encodeURIComponent(this.facts.topic)}?${query}`, { method: "POST", body: content });
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()).file;
  }

  /** @param {number} file @param {string} action */
  async #file(file, action) {
    if (action !== "save") {
      await this.connection.ask({ type: "file", topic: this.facts.topic, file, action });
      return;
    }
    const known = this.#files.find((one) => one.id === file && one.state === "complete" && !one.own);
    if (!known) throw new Error("there is no such file here");
    this.#needAgent();
    const link = document.createElement("a");
    link.download = known.name;
    link.href = `files/${encodeURIComponent(this.facts.topic)}/${file}`;
    link.click();
  }

  /** @param {any} content @param {any} options */
  async #send(content, options) {
    const part = String(options.part ?? "");
    const service = options.service ?? null;
    const to = Array.isArray(options.to) ? options.to.map(String) : [];
    if (!PART.test(part)) throw new Error("a part has at most 20 letters, digits and '-'");
    if (service !== null && !SERVICES.includes(service)) throw new Error("there is no such service");
    const topic = options.volatile ? `${this.facts.topic}~${part}` : part ? `${this.facts.topic}/${part}` : this.facts.topic;
    const body = typeof content === "string" ? { text: content }
      : content instanceof Uint8Array ? { base64: base64(content) } : null;
    if (body === null) throw new Error("a message is a string or a Uint8Array");
    return (await this.connection.ask({ type: "send", topic, to, service, ...body })).n ?? 0;
  }
}

/** @param {string} name @param {Blob} content */
function save(name, content) {
  const link = document.createElement("a");
  link.download = name;
  link.href = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
