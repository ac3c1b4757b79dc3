// @ts-check
// Logging in. The password goes to the agent on this machine. It keeps it in memory while the stay lasts, to come back if the connection is lost.

import { byId } from "./dom.js";

/** @typedef {import("./connection.js").Connection} Connection */

/** @param {string} id */
const field = (id) => /** @type {HTMLInputElement} */ (byId(id));

export class LoginView {
  /** @type {any} */
  #facts = null;
  #asked = false;

  /** @param {Connection} connection @param {() => boolean} canReturn whether there is an ended stay to read */
  constructor(connection, canReturn) {
    this.connection = connection;
    this.canReturn = canReturn;
    byId("login-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    for (const way of ["password", "key"]) field(`login-way-${way}`).addEventListener("change", () => this.#showWay());
    byId("login-back").addEventListener("click", () => this.close());
  }

  /** What the agent says of the login. @param {any} facts */
  take(facts) {
    const first = this.#facts === null;
    this.#facts = facts;
    byId("login-group").textContent = facts.group.name || "A group";
    byId("login-fingerprint").textContent = facts.group.fingerprint;
    if (first && facts.user) field("login-user").value = facts.user;
    if (!facts.busy) this.#asked = false;
    this.#show();
  }

  /** Whether the agent takes up a lost stay by itself. */
  get returns() {
    return Boolean(this.#facts?.returning);
  }

  open() {
    byId("login").hidden = false;
    document.querySelector(".app")?.toggleAttribute("inert", true);
    byId("login-back").hidden = !this.canReturn();
    this.#show();
    field(field("login-user").value ? "login-password" : "login-user").focus();
  }

  close() {
    byId("login").hidden = true;
    document.querySelector(".app")?.toggleAttribute("inert", false);
    this.#fail("");
    field("login-password").value = "";
  }

  /** The agent cannot be reached. @param {string} [why] */
  lost(why = "The connection to your agent is lost. If you stopped it, start it with “ringfort join” and open the new address.") {
    this.#asked = false;
    if (!byId("login").hidden) this.#fail(why);
    this.#show(false);
  }

  #withKey() {
    return field("login-way-key").checked;
  }

  #showWay() {
    byId("login-with-password").hidden = this.#withKey();
    byId("login-with-key").hidden = !this.#withKey();
  }

  /** @param {boolean} [words] whether to show why it failed, too */
  #show(words = true) {
    const busy = this.#asked || Boolean(this.#facts?.busy);
    const button = /** @type {HTMLButtonElement} */ (byId("login-go"));
    button.disabled = busy;
    button.textContent = busy ? "Asking the leaders…" : "Log in";
    if (words) this.#fail(busy ? "" : this.#facts?.why ?? "");
  }

  /** @param {string} why */
  #fail(why) {
    const told = byId("login-why");
    told.hidden = why === "";
    if (told.textContent !== why) told.textContent = why;
  }

  async #submit() {
    const user = field("login-user").value.trim().toLowerCase();
    const secret = this.#withKey()
      ? { key: field("login-key").value.trim(), certificate: field("login-certificate").value.trim() || null }
      : { password: field("login-password").value };
    const missing = !user ? "login-user" : "key" in secret ? !secret.key && "login-key" : !secret.password && "login-password";
    if (missing) {
      this.#fail(missing === "login-user" ? "Your user name is missing." : missing === "login-key" ? "The path of your key file is missing." : "Your password is missing.");
      field(missing).focus();
      return;
    }
    this.#asked = true;
    this.#show();
    field("login-password").value = "";
    try {
      await this.connection.ask({ type: "login", user, ...secret });
    } catch (error) {
      this.#asked = false;
      this.#show(false);
      this.#fail(error instanceof Error ? `${error.message[0].toUpperCase()}${error.message.slice(1)}.` : "It failed.");
    }
  }
}
