// What the chat adds to the library's turn.js: sending without leaving the page, keys, scrolling, other tabs, the theme.
// Without it all forms still work, and a reload shows what is new.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

const root = document.documentElement;
const composer = $("[data-composer]");
const prompt = $("#prompt");
const turns = $("[data-turns]"); // not on the page of an empty conversation
const RUNNING = 'opencode-turn:is([status="pending"], [status="streaming"])';
const tabs = new BroadcastChannel("chat");

const parse = (html) => new DOMParser().parseFromString(html, "text/html");
const part = async (url, options = {}) => {
  const answer = await fetch(url, { ...options, headers: { "X-Chat": "part", ...options.headers } });
  if (answer.redirected || !answer.ok) throw new Error("refused", { cause: answer });
  return parse(await answer.text());
};

// -- scrolling: the end stays in sight for who looks at it, and nothing moves for who reads further up

let following = !location.hash;
let begun = null; // the ask that was gone to the beginning of
const jump = $("[data-jump]");
const toEnd = () => window.scrollTo({ top: root.scrollHeight });
const follow = () => {
  const asks = $(".turn:last-child [data-oc-asks]:has(form)"); // an older one is not gone back to
  if (!asks || asks.offsetHeight < window.innerHeight / 2) return toEnd();
  const { id } = $("form", asks);
  if (id !== begun) asks.scrollIntoView(); // a long one is read from its beginning, and left to who reads it
  begun = id;
};
const atEnd = () => root.scrollHeight - window.scrollY - window.innerHeight < 120;

if (turns) {
  let height = root.scrollHeight;
  addEventListener("scroll", () => {
    if (root.scrollHeight === height) following = atEnd(); // else it is not the reader who moved
    height = root.scrollHeight;
    jump.hidden = following || atEnd();
  }, { passive: true });
  new ResizeObserver(() => {
    if (following && !turns.matches(":focus-within")) follow();
    jump.hidden = atEnd();
    height = root.scrollHeight;
  }).observe(turns);
  for (const act of ["pointerdown", "keydown"]) turns.addEventListener(act, () => { following = false; });
  jump.addEventListener("click", () => { following = true; toEnd(); prompt.focus({ preventScroll: true }); });
  if (following) follow();
}

// -- what is there already, brought up to date

const adopt = (page) => {
  const bill = $("template[data-bill]", page);
  if (bill) $("[data-bill]").replaceChildren(bill.content);
};

const append = (page) => {
  for (const turn of $$(".turn", page)) if (!document.getElementById(turn.id)) turns.append(turn);
  adopt(page);
  showState();
};

// Who pressed what goes away goes on at the prompt; on a touch screen that would bring up its keyboard.
const goOn = (from) => {
  const at = document.activeElement;
  if (!touch && (at === document.body || from?.contains(at))) prompt.focus({ preventScroll: true });
};

const refreshTurn = async (turn) => {
  const page = await part(`/m/${turn.dataset.pk}/`);
  const foot = $(".foot", page);
  if (foot) $(".foot", turn).replaceWith(foot);
  adopt(page);
};

const showCurrent = () => $("[data-list] a[aria-current]")?.scrollIntoView({ block: "nearest" });
showCurrent();
$("#side").addEventListener("toggle", showCurrent); // on a phone it is a drawer

const refreshList = async () => {
  const list = $("[data-list]");
  const fresh = await part(list.dataset.list);
  if (list.innerHTML !== fresh.body.innerHTML) {
    const focused = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
    list.replaceChildren(...fresh.body.childNodes);
    if (focused) $(`a[href="${focused}"]`, list)?.focus();
  }
  if (!turns || gone) return;
  const newest = Number($("a[aria-current]", list)?.dataset.newest ?? Infinity); // not listed: is it there?
  const known = Number($$(".turn", turns).at(-1)?.dataset.pk ?? 0);
  if (newest > known) append(await part(`${turns.dataset.turns}?after=${known}`));
};

let refreshing = null;
const refresh = () => { refreshing ??= refreshList().catch(tellIfGone).finally(() => { refreshing = null; }); };
const changed = () => { refresh(); tabs.postMessage("changed"); };

tabs.addEventListener("message", refresh);
addEventListener("visibilitychange", () => document.hidden || refresh());
addEventListener("pageshow", (event) => event.persisted && refresh());
let beats = 0;
setInterval(() => document.hidden || ($(".dot--runs") || ++beats % 4 === 0 ? refresh() : null), 4000);

// -- a turn goes on, ends, loses its line

const offline = $("[data-offline]");
const said = $("[data-said]");
const lost = new Set();
const line = (turn, isLost) => {
  isLost ? lost.add(turn) : lost.delete(turn);
  offline.hidden = !lost.size;
};

addEventListener("opencode:offline", (event) => line(event.target, true));
addEventListener("opencode:online", (event) => { line(event.target, false); reached(); });
addEventListener("online", () => reached());
addEventListener("opencode:change", () => showState());
addEventListener("opencode:end", (event) => {
  line(event.target, false);
  showState();
  const status = event.target.getAttribute("status");
  if (status === "gone") tellGone();
  changed();
  if (gone) return;
  said.textContent = { completed: "The answer is there.", failed: "The answer failed.", cancelled: "Stopped." }[status] ?? "";
  refreshTurn(event.target.closest(".turn")).catch(() => {});
});

// One that was queued has nothing to stream, so it is drawn anew; one that runs tells its end itself.
const queued = new WeakSet();
let answered = false;
addEventListener("submit", ({ target }) => {
  if (target.matches(".foot__stop")) $('[status="pending"]', target.closest(".turn")) && queued.add(target);
  if (target.matches("[data-ask]")) following = answered = true; // not once it is sent: it may go on before that is known
}, true);

const takeBack = async (turn) => {
  const page = await part(`/m/${turn.dataset.pk}/`);
  goOn(turn);
  turn.replaceWith($(".turn", page));
  said.textContent = "Taken back.";
  showState();
  changed();
};

addEventListener("opencode:sent", (event) => {
  const turn = event.target.closest?.(".turn");
  if (!turn) return; // it was drawn anew meanwhile
  if (queued.has(event.detail.form)) takeBack(turn).catch(() => {});
  if (event.detail.action !== "retry") return;
  event.preventDefault(); // which would reload the page
  following = true;
  goOn(event.target);
  refreshTurn(turn).catch(() => {});
  changed();
});

// -- sending

const send = $("[data-send]");
const stop = $("[data-stop]");
const trouble = $("[data-trouble]");
const running = () => $$(RUNNING).at(0)?.closest(".turn");
const { placeholder } = prompt;
let asked = 0;

const showState = () => {
  const turn = running();
  const stops = document.activeElement === stop;
  stop.hidden = !turn || prompt.value.trim() !== "";
  send.hidden = !stop.hidden;
  if (stops && stop.hidden) goOn(stop);
  const asks = $$("[data-oc-asks] form").length;
  prompt.placeholder = asks ? prompt.dataset.whileAsked : placeholder;
  if (asks > asked) { said.textContent = "The agent asks you something."; changed(); }
  if (asks < asked) {
    changed();
    if (answered) goOn(); // where turn.js has found no other ask to go to
    answered = false;
  }
  asked = asks;
};

// What is not sent yet stays in its tab, for each conversation, until somebody logs out.
const DRAFT = `draft:${location.pathname}`;
const forgetDraft = () => sessionStorage.removeItem(DRAFT);
const keepDraft = () => {
  forgetDraft();
  try { if (prompt.value) sessionStorage.setItem(DRAFT, prompt.value); } catch { /* more than the browser keeps */ }
};
prompt.value ||= sessionStorage.getItem(DRAFT) ?? "";
prompt.setSelectionRange(prompt.value.length, prompt.value.length);
$("[data-leave]").addEventListener("submit", () => sessionStorage.clear());

const stopTurn = () => $("form.foot__stop", running() ?? document)?.requestSubmit();

// What is pasted is not cut off: it is kept, and not sent.
const measure = (field) => {
  const longest = Number(field.dataset.longest), { length } = field.value.trim();
  const told = `This is too long: it has ${length.toLocaleString("en")} characters, and ${longest.toLocaleString("en")} is the most.`;
  field.setCustomValidity(length > longest ? told : "");
};
addEventListener("input", ({ target }) => target.dataset.longest && measure(target));
measure(prompt);

// What went wrong stands beneath the prompt, until it is so no longer.
let gone = false, unreachable = false;
const tell = (words, href, where) => {
  trouble.textContent = words;
  if (href) trouble.append(" ", Object.assign(document.createElement("a"), { href, textContent: where }));
};
const forgetTrouble = () => gone || trouble.replaceChildren();
const reached = () => unreachable && forgetTrouble();
const tellGone = () => { gone = true; tell("This conversation was deleted.", $(".brand").href, "To your conversations"); };
const tellIfGone = ({ cause }) => cause?.status === 404 && tellGone();

const tellWhy = async ({ cause: answer }) => {
  unreachable = !answer;
  if (answer?.redirected) tell("It could not be sent: you are logged out.", location.pathname, "Log in");
  else if (answer?.status === 404) tellGone();
  else if (answer?.status === 413) tell(await answer.text());
  else if (answer) tell(`It could not be sent (the server said ${answer.status}). Try again.`);
  else if (navigator.onLine) tell("It could not be sent: the server cannot be reached. Try again.");
  else tell("You are offline. Try again when you are back.");
};

const sendPrompt = async () => {
  const body = new FormData(composer);
  const text = prompt.value;
  if (!text.trim() || send.disabled) return;
  send.disabled = true;
  forgetTrouble();
  prompt.value = "";
  keepDraft();
  try {
    const page = await part(composer.action, { method: "POST", body });
    composer.elements.key.value = crypto.randomUUID();
    following = true;
    append(page);
    toEnd();
    changed();
  } catch (error) {
    prompt.value = text; // with the same key: what did arrive is not sent twice
    keepDraft();
    tellWhy(error);
  } finally {
    send.disabled = false;
    showState();
  }
};

composer.addEventListener("submit", (event) => {
  if (!turns) return forgetDraft();
  event.preventDefault();
  sendPrompt();
});
stop.addEventListener("click", stopTurn);
prompt.addEventListener("input", () => { forgetTrouble(); keepDraft(); showState(); });

addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target === composer || event.target.dataset.ocAction) return;
  for (const button of $$("button", event.target)) setTimeout(() => { button.disabled = true; }); // it is sent once
});
addEventListener("pageshow", () => $$("button:disabled").forEach((button) => { button.disabled = false; }));

// -- keys

const touch = matchMedia("(pointer: coarse)").matches; // there Enter is the only way to a new line
const writes = (element) => element?.matches?.("input, textarea, select, [contenteditable]");
const drafts = (element) => element?.matches?.("textarea, input[type=text]") && element.value.trim();

prompt.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Enter" && !event.shiftKey && !touch) {
    event.preventDefault();
    composer.requestSubmit();
  } else if (event.key === "ArrowUp" && !prompt.value) {
    const last = $$("[data-edit]").filter((edit) => edit.checkVisibility()).at(-1);
    if (last) { event.preventDefault(); following = false; last.open = true; }
  }
});

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const open = event.target.closest?.("[data-edit][open], [data-rename][open]");
  if (event.key === "Enter" && !event.shiftKey && !touch && event.target.matches?.("[data-edit] textarea")) {
    event.preventDefault();
    event.target.form.requestSubmit();
  } else if (event.key === "Escape" && open) {
    open.open = false;
    $("summary", open).focus();
  } else if (event.key === "Escape" && !$(":popover-open") && !drafts(event.target)) {
    stopTurn();
  } else if (event.key === "/" && !writes(event.target)) {
    event.preventDefault();
    prompt.focus();
  }
});

// What a popover covers is out of sight for who tabs out of it.
addEventListener("focusin", ({ target }) => {
  const over = $(":popover-open");
  if (over && !over.contains(target)) over.hidePopover();
});

// -- small things in place

addEventListener("toggle", (event) => {
  if (!event.target.open || !event.target.matches("[data-edit], [data-rename]")) return;
  const field = $("textarea, input:not([type=hidden])", event.target);
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}, true);

addEventListener("click", async (event) => {
  const button = event.target.closest?.("button");
  if (button?.matches("[data-cancel-edit]")) {
    button.closest("details").open = false;
    prompt.focus({ preventScroll: true });
  } else if (button?.matches("[data-copy]")) {
    const texts = $$('[data-part="text"]', button.closest(".turn")).map((text) => text.innerText);
    await navigator.clipboard.writeText(texts.join("\n\n"));
    const use = $("use", button);
    const href = use.getAttribute("href");
    use.setAttribute("href", href.replace("#copy", "#check"));
    said.textContent = "Copied.";
    setTimeout(() => use.setAttribute("href", href), 1500);
  } else if (button?.matches("[data-theme-toggle]")) {
    setTheme({ "": "light", light: "dark", dark: "" }[localStorage.getItem("theme") ?? ""]);
  }
});

const setTheme = (theme) => {
  if (theme) { localStorage.setItem("theme", theme); root.dataset.theme = theme; } else { localStorage.removeItem("theme"); delete root.dataset.theme; }
  $("[data-theme-toggle]").ariaLabel = `Theme: ${theme || "as the system"}`;
};

setTheme(localStorage.getItem("theme") ?? "");
showState();
if (!touch) prompt.focus({ preventScroll: true });
