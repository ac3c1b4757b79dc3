// @ts-check
// The page's socket to its agent. It reconnects by itself and takes up where it was.
//
// Whoever has the port when the agent has ended could answer in its place. So the first line of each socket proves, over a
// number that the page has just made up, that it knows the secret that the agent gave to this page alone, in its document.
// Nothing else is heard or sent before that, and to who cannot prove it the page does not speak again.

/** @typedef {{type: string, [key: string]: any}} Line */

const PATIENCE_MS = [250, 500, 1000, 2000, 4000];
/** The agent says something every five seconds. After so long without a word it hangs, or is suspended. */
const SILENCE_MS = 15000;

const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text);

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** Whether a line proves that who sends it has the secret. @param {string} secret @param {string} nonce @param {any} line */
async function proves(secret, nonce, line) {
  try {
    const proof = Uint8Array.from(String(line.proof).match(/../g) ?? [], (two) => Number.parseInt(two, 16));
    const key = await crypto.subtle.importKey("raw", bytes(secret), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    return line.type === "proof" && (await crypto.subtle.verify("HMAC", key, proof, bytes(nonce)));
  } catch {
    return false;
  }
}

export class Connection extends EventTarget {
  #secret;
  /** Whether the other side has proven that it is the agent. */
  #proven = false;
  #run = "";
  #after = 0;
  #failures = 0;
  #next = 1;
  /** @type {WebSocket | null} */
  #socket = null;
  #watch = 0;
  /** @type {Map<number, {resolve: (line: Line) => void, reject: (error: Error) => void}>} */
  #asked = new Map();

  /** @param {string} [secret] what the agent proves itself with; the document has it */
  constructor(secret = globalThis.document?.querySelector("meta[name=agent-secret]")?.getAttribute("content") ?? "") {
    super();
    this.#secret = secret;
  }

  /** Whether the agent is there. What the page loads or sends without this socket asks first. */
  get open() {
    return this.#proven && this.#socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    const address = new URL("socket", location.href);
    address.protocol = "ws:";
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#proven = false;
    const nonce = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    /** @type {string[] | null} What came while the proof was looked at. */
    let waiting = null;
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", version: 1, run: this.#run, after: this.#after, nonce }));
    socket.onmessage = async (event) => {
      this.#listen(socket);
      if (this.#proven) return this.#told(JSON.parse(event.data));
      if (waiting) return void waiting.push(event.data);
      waiting = [];
      const proven = await proves(this.#secret, nonce, parsed(event.data));
      if (this.#socket !== socket) return;
      if (!proven) return this.#stranger(socket);
      this.#proven = true;
      for (const line of waiting) this.#told(JSON.parse(line));
    };
    socket.onclose = () => this.#lost();
    this.#listen(socket);
  }

  /** Gives a socket up that says nothing any more. A suspended agent would never close it. @param {WebSocket} socket */
  #listen(socket) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      this.#lost();
    }, SILENCE_MS);
  }

  #forget() {
    clearTimeout(this.#watch);
    this.#socket = null;
    this.#proven = false;
    for (const { reject } of this.#asked.values()) reject(new Error("the connection to your agent broke"));
    this.#asked.clear();
  }

  /** Somebody else has the agent's port: the agent has ended, and does not come back under this secret. @param {WebSocket} socket */
  #stranger(socket) {
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#forget();
    this.#tell("stranger", null);
  }

  #lost() {
    this.#forget();
    this.#tell("lost", { failures: this.#failures });
    const wait = PATIENCE_MS[Math.min(this.#failures, PATIENCE_MS.length - 1)];
    this.#failures += 1;
    setTimeout(() => this.connect(), wait);
  }

  /** @param {Line} line */
  #told(line) {
    switch (line.type) {
      case "welcome": {
        const fresh = line.run !== this.#run;
        this.#run = line.run;
        this.#after = line.after;
        this.#failures = 0;
        this.#tell("welcome", { ...line, fresh });
        break;
      }
      case "record":
        this.#after = line.n;
        this.#tell("record", line);
        break;
      case "done":
      case "value":
        this.#asked.get(line.id)?.resolve(line);
        this.#asked.delete(line.id);
        break;
      case "failed":
        this.#asked.get(line.id)?.reject(new Error(line.why));
        this.#asked.delete(line.id);
        break;
      case "alive":
        break;
      default:
        this.#tell(line.type, line);
    }
  }

  /** @param {string} name @param {any} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** @param {string} name @param {(detail: any) => void} listener */
  on(name, listener) {
    this.addEventListener(name, (event) => listener(/** @type {CustomEvent} */ (event).detail));
  }

  /** @param {Line} ask @returns {Promise<Line>} */
  ask(ask) {
    const socket = this.open ? this.#socket : null;
    if (!socket) return Promise.reject(new Error("there is no connection to your agent"));
    const id = this.#next++;
    socket.send(JSON.stringify({ ...ask, id }));
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }
}
