// @ts-check
// The page's socket to its agent. It reconnects by itself and takes up where it was.

/** @typedef {{type: string, [key: string]: any}} Line */

const PATIENCE_MS = [250, 500, 1000, 2000, 4000];
/** The agent says something every five seconds. After so long without a word it hangs, or is suspended. */
const SILENCE_MS = 15000;

export class Connection extends EventTarget {
  #run = "";
  #after = 0;
  #failures = 0;
  #next = 1;
  /** @type {WebSocket | null} */
  #socket = null;
  #watch = 0;
  /** @type {Map<number, {resolve: (line: Line) => void, reject: (error: Error) => void}>} */
  #asked = new Map();

  connect() {
    const address = new URL("socket", location.href);
    address.protocol = "ws:";
    const socket = new WebSocket(address);
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", version: 1, run: this.#run, after: this.#after }));
    socket.onmessage = (event) => {
      this.#listen(socket);
      this.#told(JSON.parse(event.data));
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

  #lost() {
    clearTimeout(this.#watch);
    this.#socket = null;
    for (const { reject } of this.#asked.values()) reject(new Error("the connection to your agent broke"));
    this.#asked.clear();
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
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Error("there is no connection to your agent"));
    const id = this.#next++;
    this.#socket.send(JSON.stringify({ ...ask, id }));
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }
}
