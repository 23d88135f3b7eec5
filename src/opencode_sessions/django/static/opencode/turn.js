// <opencode-turn src="…/events" status="streaming" revision="12">: shows a turn while it runs.
//
//   <div data-oc-parts>…</div>   the answer's parts, as the server has rendered them
//   <div data-oc-asks>…</div>    the forms of what the agent asks
//   <div data-oc-error></div>    why it failed
//
// Forms with data-oc-action, and those of asks, are sent by fetch. It dispatches, all bubbling: opencode:change (after
// something was shown), opencode:end {status}, opencode:offline, opencode:online, opencode:sent {action, answer}.
// See docs/django-views.md. Nothing here needs more than `script-src 'self'`.

const ENDED = new Set(["completed", "cancelled", "failed", "gone"]);
const FORMS = "form[data-oc-action], form[data-ask]";
const FIRST_WAIT = 1000, LONGEST_WAIT = 30000, SILENCE = 45000, ANNOUNCED = 5000;

// In the language of the page, where it has {% opencode_texts %}.
const TEXTS = JSON.parse(document.getElementById("opencode-texts")?.textContent ?? "{}");
const text = (message, values = {}) => (TEXTS[message] ?? message).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
const LOGGED_OUT = text("You are logged out. Reload the page.");
const UNREACHABLE = text("The server cannot be reached. Try again.");

// The server has sanitised what it sends. A page with Trusted Types allows this one policy.
const policy = window.trustedTypes?.createPolicy("opencode", { createHTML: (html) => html }) ?? { createHTML: (html) => html };

function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(html);
  return template.content;
}

// Makes `old` like `fresh`, and touches only what differs: so focus, selection, scrolling and what was typed stay.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) grow(old, fresh.nodeValue);
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !kept(old, name)) old.setAttribute(name, value);
  }
  const olds = [...old.childNodes], news = [...fresh.childNodes];
  news.forEach((child, place) => (place < olds.length ? morph(olds[place], child) : old.append(child)));
  olds.slice(news.length).forEach((child) => child.remove());
}

// What is appended does not disturb a selection in what was there.
function grow(text, value) {
  if (value.startsWith(text.data)) text.appendData(value.slice(text.length));
  else text.data = value;
}

// Once somebody has opened or closed it, it is theirs; so is a mark of ours on a form that is being sent.
const kept = (element, name) =>
  (name === "open" && element.dataset.ocTouched !== undefined) || name === "data-oc-touched" || name === "aria-busy" ||
  (element.matches("button") && name === "disabled");

// A browser has six connections to a server over HTTP/1.1, for all its tabs together, and its forms need one too. So a
// page that is seen has two streams, and one that is hidden has none. One is for the first turn that runs, as others may
// be queued behind it; where more than one other wants the second, they have it by turns.

const STREAMS = 2, SHARE = 4000;
const unfinished = new Set();
let guest = null, rota = 0;

const waits = (turn) => turn.getAttribute("status") === "pending";
const isAfter = (one, other) => one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_PRECEDING;
const byNeed = (one, other) => waits(one) - waits(other) || (isAfter(one, other) ? 1 : -1);

function share(step = 0) {
  const first = document.hidden ? [] : [...unfinished].sort(byNeed);
  const others = first.splice(STREAMS - 1);
  const place = others.indexOf(guest);
  guest = others[place < 0 ? 0 : (place + step) % others.length];
  const chosen = new Set([...first, guest]);
  for (const turn of unfinished) if (!chosen.has(turn)) turn.follow(false);
  for (const turn of chosen) turn?.follow(true);
  clearTimeout(rota);
  if (others.length > 1) rota = setTimeout(share, SHARE, 1);
}

document.addEventListener("visibilitychange", () => share());

class OpencodeTurn extends HTMLElement {
  #follows = false;
  #source = null;
  #wait = FIRST_WAIT;
  #timer = 0;
  #heard = 0;
  #last = "";
  #offline = false;
  #voice = null;

  connectedCallback() {
    this.addEventListener("click", this.#touch);
    if (ENDED.has(this.getAttribute("status"))) return;
    this.#voice ??= this.appendChild(Object.assign(document.createElement("div"), { className: "oc-hidden", role: "status" }));
    unfinished.add(this);
    share();
    window.addEventListener("online", this.#look);
  }

  disconnectedCallback() {
    this.removeEventListener("click", this.#touch);
    window.removeEventListener("online", this.#look);
    this.#leave();
  }

  // Whether it may have a stream now; see `share`.
  follow(may) {
    if (may === this.#follows) return;
    this.#follows = may;
    if (may) return this.#connect();
    this.#close();
    this.#online(); // nobody waits for a line
  }

  #leave() {
    this.follow(false);
    if (unfinished.delete(this)) share();
  }

  #connect() {
    this.#close();
    const url = new URL(this.getAttribute("src"), document.baseURI);
    const after = this.#last || this.getAttribute("revision");
    if (after) url.searchParams.set("after", after);
    const source = (this.#source = new EventSource(url));
    this.#heard = Date.now();
    const on = (name, act) =>
      source.addEventListener(name, (event) => {
        this.#heard = Date.now();
        if (event.lastEventId) this.#last = event.lastEventId;
        act(JSON.parse(event.data));
      });
    source.addEventListener("open", () => this.#online());
    source.addEventListener("error", () => this.#failed(source));
    on("state", (state) => this.#show(state));
    on("part", (part) => this.#showPart(part));
    on("asks", ({ asks }) => (this.#showAsks(asks), this.#tell("change", {})));
    on("end", ({ status }) => this.#end(status));
    on("beat", () => {});
    on("again", () => this.#connect());
    this.#timer = setInterval(this.#look, SILENCE / 3);
  }

  #close() {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer); // an interval, too
  }

  // The browser connects again by itself where the line breaks, but not after an answer such as 502; nor does it tell
  // which answer that was, so it is asked for once more.
  async #failed(source) {
    if (source.readyState !== EventSource.CLOSED) return this.#broken();
    const answer = await fetch(source.url, { redirect: "manual" }).catch(() => null);
    const out = answer && refusesStranger(answer);
    if (source !== this.#source) return;
    if (out) return this.#giveUp();
    if (answer?.status === 404 && this.#wait === LONGEST_WAIT) return this.#end("gone"); // a proxy may say so for a while
    this.#broken();
    this.#again();
  }

  // The line is there, but not for us; the others on this page would hear the same.
  #giveUp() {
    const all = [...unfinished];
    unfinished.clear();
    for (const turn of all) turn.follow(false);
    complain(this, LOGGED_OUT);
  }

  #broken() {
    if (this.#offline) return;
    this.#offline = true;
    this.toggleAttribute("offline", true);
    this.#tell("offline", {});
  }

  #again() {
    this.#close();
    this.#timer = setTimeout(() => this.#connect(), this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  #online() {
    this.#wait = FIRST_WAIT;
    this.#heard = Date.now();
    if (!this.#offline) return;
    this.#offline = false;
    this.toggleAttribute("offline", false);
    this.#tell("online", {});
  }

  // A network that is back: do not wait out a pause. And a line can be dead without a word, after a sleep, say: then the
  // server's beats are missing.
  #look = () => {
    if (!this.#follows || ENDED.has(this.getAttribute("status"))) return;
    const silent = Date.now() - this.#heard > SILENCE;
    if (silent) this.#broken();
    if (silent || !this.#source) this.#connect();
  };

  #end(status) {
    this.#leave();
    if (status === "gone") this.#rest();
    if (status !== this.getAttribute("status")) this.setAttribute("status", status);
    this.#announce();
    this.#tell("end", { status });
  }

  // The row was deleted: nothing comes that would say how it ended, and nobody waits for an answer.
  #rest() {
    for (const text of this.querySelectorAll(".oc-prose--growing")) text.classList.remove("oc-prose--growing");
    for (const spinner of this.querySelectorAll(".oc-card__spinner")) spinner.remove();
    this.#showAsks([]);
  }

  // Read aloud once it is whole, rather than word by word.
  #announce() {
    const texts = [...(this.#parts?.querySelectorAll(":scope > [data-part=text]") ?? [])];
    this.#voice.textContent = texts.map((part) => part.textContent.trim()).join("\n");
    setTimeout(() => this.#voice.replaceChildren(), ANNOUNCED);
  }

  // What is shown.

  #show(state) {
    const begins = waits(this);
    this.setAttribute("status", state.status);
    if (begins && !waits(this)) share();
    this.setAttribute("revision", state.revision);
    const box = this.#parts;
    if (box) {
      const wanted = new Set(state.parts.map((part) => part.id));
      for (const child of [...box.children]) if (!wanted.has(child.id)) child.remove();
      let after = null;
      for (const part of state.parts) after = this.#put(box, part, after);
      box.dataset.status = state.status;
    }
    this.#showAsks(state.asks);
    const error = this.querySelector("[data-oc-error]");
    if (error) this.#fill(error, state.error_html);
    else if (box && state.error_html) box.append(parsed(state.error_html));
    this.#tell("change", { state });
  }

  #showPart(part) {
    const box = this.#parts;
    if (!box) return;
    this.#put(box, part, part.after ? this.#find(box, part.after) : null);
    this.#tell("change", { part: part.id });
  }

  #put(box, { id, html }, after) {
    const fresh = parsed(html).firstElementChild;
    if (!fresh) return after;
    const old = this.#find(box, id);
    if (!old) {
      after ? after.after(fresh) : box.prepend(fresh);
      return fresh;
    }
    if (after ? after.nextElementSibling !== old : box.firstElementChild !== old) {
      after ? after.after(old) : box.prepend(old);
    }
    morph(old, fresh);
    return this.#find(box, id);
  }

  #find = (box, id) => box.querySelector(`:scope > #${CSS.escape(id)}`);

  get #parts() {
    const box = this.querySelector("[data-oc-parts]");
    return box?.querySelector(":scope > .oc-parts") ?? box;
  }

  #showAsks(asks) {
    const box = this.querySelector("[data-oc-asks]");
    if (!box) return;
    const wanted = new Map(asks.map((ask) => [ask.id, ask]));
    let left = false;
    for (const form of [...box.children]) {
      const ask = wanted.get(form.dataset.ask), fresh = ask && parsed(ask.html).firstElementChild;
      wanted.delete(form.dataset.ask);
      if (fresh && fresh.dataset.shown === form.dataset.shown) continue; // one that stays keeps its focus, and what was typed
      left ||= holdsFocus(form);
      fresh ? form.replaceWith(fresh) : form.remove();
    }
    for (const { html } of wanted.values()) box.append(parsed(html));
    if (left && box.firstElementChild) enter(box.firstElementChild);
  }

  #fill(box, html) {
    const fresh = document.createElement("div");
    fresh.append(parsed(html));
    if (box.innerHTML !== fresh.innerHTML) box.replaceChildren(...fresh.childNodes);
  }

  #touch = (event) => {
    const details = event.target.closest?.("summary")?.parentElement;
    if (details) details.dataset.ocTouched = "";
  };

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(`opencode:${name}`, { bubbles: true, detail }));
  }
}

// Forms: wherever on the page they stand.

let pressed = null; // the form that was sent last: its buttons, as they are disabled, lose the focus to the body

const holdsFocus = (form) =>
  form.contains(document.activeElement) || (form === pressed && document.activeElement === document.body);

// To its title, which is read, rather than to a button, which a key that is still held down would press.
function enter(form) {
  const title = document.getElementById(form.getAttribute("aria-labelledby")) ?? form;
  title.tabIndex = -1;
  title.focus();
}

function token(form) {
  const field = form.elements.csrfmiddlewaretoken ?? document.querySelector("[name=csrfmiddlewaretoken]");
  const cookie = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie);
  return field?.value || form.closest("[csrf]")?.getAttribute("csrf") || (cookie && decodeURIComponent(cookie[1])) || "";
}

// Of our views' answers none is a redirect or a page: those are the host's, for who is not logged in any more.
function refusesStranger(response) {
  const type = response.headers.get("Content-Type") ?? "";
  response.body?.cancel();
  return response.type === "opaqueredirect" || response.status === 401 || (response.ok && response.status !== 204 && type.includes("html"));
}

function complain(box, problem) {
  const line = Object.assign(document.createElement("p"), { className: "oc-problem", role: "alert", textContent: problem });
  line.dataset.ocProblem = "";
  box.append(line);
  return line;
}

// It can be now: who said so in a form is taken at their word no longer.
function reached() {
  for (const line of document.querySelectorAll("[data-oc-problem]")) if (line.textContent === UNREACHABLE) line.remove();
}

window.addEventListener("online", reached);
document.addEventListener("opencode:online", () => document.querySelector("opencode-turn[offline]") ?? reached());

// The stream may be faster than the answer to a form, and take the form away: what it stood in is still there.
function path(element) {
  return element ? [element, ...path(element.parentNode)] : [];
}

async function send(form, submitter) {
  const action = form.dataset.ocAction ?? "answer";
  const body = new FormData(form, submitter);
  const buttons = [...form.querySelectorAll("button")].filter((button) => !button.disabled);
  const places = path(form);
  pressed = form;
  form.setAttribute("aria-busy", "true");
  form.querySelector("[data-oc-problem]")?.remove();
  buttons.forEach((button) => (button.disabled = true));
  let problem = "", answer = null;
  try {
    const headers = { Accept: "application/json", "X-CSRFToken": token(form) };
    // Not form.action: a field of that name would stand in its place.
    const url = form.getAttribute("action") || location.href;
    const response = await fetch(url, { method: "POST", body, headers, credentials: "same-origin", redirect: "manual" });
    const json = (response.headers.get("Content-Type") ?? "").includes("json");
    answer = json ? await response.json() : null;
    if (!json && refusesStranger(response)) problem = LOGGED_OUT;
    else if (!response.ok) problem = answer?.error || text("The server refused it ({status}). Reload the page, and try again.", { status: response.status });
  } catch {
    problem = UNREACHABLE;
  }
  form.removeAttribute("aria-busy");
  if (problem && answer?.html) { // it has changed meanwhile: this is what it says now
    const fresh = parsed(answer.html).firstElementChild;
    (document.getElementById(fresh.id) ?? form).replaceWith(fresh);
    form = fresh;
  }
  const sent = new CustomEvent("opencode:sent", { bubbles: true, cancelable: true, detail: { action, answer, form } });
  if (!problem && !places.find((place) => place.isConnected).dispatchEvent(sent)) return;
  if (!problem && action === "retry") return location.reload();
  if (!problem && action === "answer") return; // it goes away once the agent has got it
  buttons.forEach((button) => (button.disabled = false));
  if (problem) complain(form, problem).scrollIntoView({ block: "nearest" });
  if (document.activeElement === document.body) submitter?.focus({ preventScroll: true });
}

document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || !event.target.matches(FORMS)) return;
  event.preventDefault();
  if (!event.target.hasAttribute("aria-busy")) send(event.target, event.submitter);
});

// The second click of two may come to a button that has only just moved there, and nobody has read.
document.addEventListener("click", (event) => {
  if (event.detail > 1 && event.target.closest("button")?.form?.matches(FORMS)) event.preventDefault();
});

customElements.define("opencode-turn", OpencodeTurn);
