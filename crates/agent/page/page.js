// @ts-check
// The page of a member's own agent.

import { Connection } from "./connection.js";
import { DOING, DOING_WORD, Frame } from "./frames.js";
import { showMotions } from "./motions.js";
import { Requests } from "./requests.js";
import { LoginView } from "./login.js";
import { Microphone } from "./microphone.js";
import { byId, element } from "./dom.js";
import { Journal, awayWords, showKey, showLeaders, showMembers, showRole, showTrust, viewWords } from "./shell.js";

/** How long "writing" or "drawing" stands beside a name. */
const DOING_MS = 3500;

const STRANGER = "Your agent has ended, and another program answers in its place. Nothing of it is shown, and nothing is sent to it. "
  + "Close this page and do not load it again: start your agent with “ringfort join” and open the new address.";

const connection = new Connection();
const journal = new Journal();
const login = new LoginView(connection, () => welcome !== null);
/** @type {Frame[]} */
let frames = [];
/** @type {any} */
let welcome = null;
/** @type {any} */
let state = null;
/** Records from this number on came while the page was open. */
let live = Infinity;
let shown = "";
const requests = new Requests(connection, showPeople, () => state?.members ?? []);
const microphone = new Microphone(() => shown);
/** @type {Map<string, {word: string, until: number}>} */
const doing = new Map();
let lost = false;
/** Whether somebody else answers in the agent's place. */
let stranger = false;

/** What this member may do: `member`, `receiver`, `sender` or `archive`. */
function role() {
  return state.roles?.[welcome.user] ?? "member";
}

function facts() {
  return {
    you: welcome.user, group: welcome.group.name, bytesMax: welcome.message_bytes_max,
    members: state.members, roles: state.roles ?? {}, role: role(), epoch: state.epoch ?? 0, confirmed: state.confirmed, ended: state.ended !== null,
  };
}

connection.on("welcome", (line) => {
  const restarted = welcome !== null && line.fresh;
  welcome = line;
  lost = false;
  if (line.state.ended === null) login.close();
  byId("group-name").textContent = byId("top-name").textContent = line.group.name || "Ringfort";
  byId("user").textContent = line.user;
  byId("fingerprint").textContent = line.group.fingerprint;
  const needed = line.group.faults + 1;
  byId("invite-need").textContent = `At least ${needed} operators must; ask all ${line.group.leaders}.`;
  requests.welcome(line.user, needed, line.group.members_expel);
  state = line.state;
  if (restarted) {
    journal.clear();
    requests.clear();
    for (const frame of frames) frame.forget();
  }
  if (frames.length === 0) build(line.plugins);
  for (const problem of line.fresh ? line.skipped_plugins : []) {
    journal.add(Date.now(), `The plugin in ${problem.folder} was skipped: ${problem.why}.`, true);
  }
  showState();
});

connection.on("login", (line) => {
  login.take(line);
  if (welcome === null) login.open();
  else showBanner();
});

connection.on("state", (line) => {
  state = line;
  showState();
});

connection.on("record", (record) => {
  if (record.kind === "view") journal.add(record.at_ms, viewWords(record, welcome.user), false, "views");
  if (record.kind === "notice") journal.add(record.at_ms, record.words, record.warning);
  if (record.kind === "away") journal.add(record.at_ms, awayWords(record), true);
  if (record.kind === "gap") journal.add(record.at_ms, `${record.count} messages of ${record.from} were lost for good.`, true);
  const asked = requests.take(record);
  if (asked !== null) journal.add(record.at_ms, asked, true, "members");
  const owner = record.kind === "message" ? record.topic.split(/[/~]/)[0] : null;
  for (const frame of frames) {
    if (record.topic === frame.facts.topic + DOING) does(record.from, String(record.text ?? ""));
    else if (owner === null || frame.facts.topic === owner) frame.take(record, live);
  }
});

connection.on("files", ({ topic, files }) => {
  for (const frame of frames) if (frame.facts.topic === topic && frame.facts.files) frame.takeFiles(files);
});

connection.on("skipped", () => journal.add(Date.now(), "Some older messages are no longer kept by the agent.", true));
connection.on("lost", () => {
  lost = true;
  login.lost();
  showBanner();
});

connection.on("stranger", () => {
  lost = stranger = true;
  login.lost(STRANGER);
  showBanner();
});

/** @param {string} name @param {string} word */
function does(name, word) {
  if (word !== "" && !DOING_WORD.test(word)) return;
  doing.set(name, { word, until: word ? Date.now() + DOING_MS : 0 });
  showPeople();
}

function showPeople() {
  const now = Date.now();
  for (const [name, what] of doing) if (what.until <= now) doing.delete(name);
  if (state) showMembers(state.members, state.roles ?? {}, welcome.user, new Map([...doing].map(([name, what]) => [name, what.word])), requests);
}

function showState() {
  showTrust(state, welcome.group.rekey_period_s ?? 0);
  showPeople();
  showLeaders(state.leaders);
  showRole(role());
  showMotions(state.motions, welcome.user, connection);
  showBanner();
  for (const frame of frames) frame.tellState();
  /** @type {HTMLButtonElement} */ (byId("leave")).disabled = state.ended !== null;
}

function showBanner() {
  const over = state?.ended ?? null;
  const words = over !== null && !lost && login.returns ? `You ${over}. Your agent joins again by itself… What is here can still be read.`
    : over !== null && !lost ? `Your stay in the group has ended: you ${over}. What is here can still be read.`
    : stranger ? STRANGER
    : lost ? "The connection to your agent is lost. Trying again… If you stopped it, start it with “ringfort join” and open the new address."
    : state?.warning ?? null;
  const banner = byId("banner");
  banner.hidden = words === null;
  banner.classList.toggle("bad", over !== null || lost);
  byId("rejoin").hidden = over === null || lost;
  // What the sidebar says is of then, not of now.
  document.querySelector(".side")?.classList.toggle("stale", over !== null || lost);
  const told = byId("banner-words");
  if (told.textContent !== (words ?? "")) told.textContent = words ?? "";
}

/** @param {import("./frames.js").Facts[]} plugins */
function build(plugins) {
  const stage = byId("stage");
  for (const plugin of plugins) {
    const frame = new Frame(plugin, connection, { unread: showUnread, open: askToOpen, microphone }, facts);
    frame.panel.id = `panel-${plugin.id}`;
    frame.panel.setAttribute("role", "tabpanel");
    frame.panel.setAttribute("aria-labelledby", `tab-${plugin.id}`);
    frames.push(frame);
    tab(plugin.id, plugin.name, plugin.description);
    stage.append(frame.panel);
  }
  tab("journal", "Journal", "What happened in the group");
  stage.append(journal.element);
  select(plugins[0]?.id ?? "journal");
}

/** @param {string} id @param {string} name @param {string} description */
function tab(id, name, description) {
  const made = element("button", { type: "button", role: "tab", class: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`, title: description }, name);
  made.addEventListener("click", () => select(id));
  made.addEventListener("keydown", (event) => {
    const tabs = [...byId("tabs").children];
    const here = tabs.indexOf(made);
    const next = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const target = /** @type {HTMLElement} */ (tabs[(next + tabs.length) % tabs.length]);
    target.focus();
    target.click();
  });
  byId("tabs").append(made);
}

/** @param {string} id */
function select(id) {
  shown = id;
  for (const made of byId("tabs").children) {
    const is = made.id === `tab-${id}`;
    made.setAttribute("aria-selected", String(is));
    /** @type {HTMLElement} */ (made).tabIndex = is ? 0 : -1;
  }
  for (const frame of frames) frame.show(frame.facts.id === id);
  journal.element.hidden = id !== "journal";
}

/** @param {Frame} frame */
function showUnread(frame) {
  const made = byId(`tab-${frame.facts.id}`);
  made.querySelector(".badge")?.remove();
  if (frame.unread > 0) {
    const badge = element("span", { class: "badge" }, frame.unread > 99 ? "99+" : String(frame.unread), element("span", { class: "visually-hidden" }, " unread"));
    made.append(badge);
  }
  const all = frames.reduce((sum, one) => sum + one.unread, 0);
  document.title = `${all > 0 ? `(${all}) ` : ""}${welcome.group.name || "Ringfort"} – Ringfort`;
}

/** @param {Frame} frame @param {string} url */
function askToOpen(frame, url) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("open-dialog"));
  const address = URL.canParse(url) ? new URL(url) : null;
  // Only what the user looks at may ask, and only for the web.
  if (dialog.open || frame.facts.id !== shown || !address || !["http:", "https:"].includes(address.protocol)) return;
  byId("open-who").textContent = frame.facts.name;
  byId("open-url").textContent = address.href;
  dialog.onclose = () => {
    if (dialog.returnValue === "open") window.open(address.href, "_blank", "noopener,noreferrer");
  };
  dialog.returnValue = "";
  dialog.showModal();
}

for (const copy of document.querySelectorAll("[data-copy]")) {
  copy.addEventListener("click", async () => {
    const from = byId(copy.getAttribute("data-copy") ?? "");
    // Without the right to the clipboard it is at least selected.
    getSelection()?.selectAllChildren(from);
    const done = await navigator.clipboard.writeText(from.textContent ?? "").then(() => true, () => false);
    copy.textContent = done ? "Copied" : "Selected";
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });
}
byId("rejoin").addEventListener("click", () => login.open());
document.querySelector("a[download]")?.addEventListener("click", (event) => {
  // From the agent, or not at all.
  if (!connection.open) event.preventDefault();
});
byId("invite").addEventListener("click", () => /** @type {HTMLDialogElement} */ (byId("invite-dialog")).showModal());
byId("leave").addEventListener("click", () => {
  const dialog = /** @type {HTMLDialogElement} */ (byId("leave-dialog"));
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue !== "leave") return;
    connection.ask({ type: "leave" }).catch((error) => journal.add(Date.now(), `Leaving: ${error.message}.`, true));
  };
  dialog.showModal();
});

byId("menu").addEventListener("click", () => {
  const open = byId("side").classList.toggle("open");
  byId("menu").setAttribute("aria-expanded", String(open));
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && byId("side").classList.contains("open")) byId("menu").click();
});

setInterval(() => {
  if (!state) return;
  showKey(state, welcome.group.rekey_period_s ?? 0);
  if (doing.size > 0) showPeople();
}, 1000);

connection.on("welcome", (line) => {
  if (line.fresh) live = line.head + 1;
});
connection.connect();
