// What the chat adds to the library's turn.js: sending without leaving the page, keys, scrolling, other tabs, the theme.
// Without it all forms still work, and a reload shows what is new.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

// In the language of the page, which {% chat_texts %} gives.
const TEXTS = JSON.parse($("#chat-texts")?.textContent ?? "{}");
const text = (message, values = {}) => (TEXTS[message] ?? message).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);

const root = document.documentElement;
const composer = $("[data-composer]");
const prompt = $("#prompt");
const turns = $("[data-turns]"); // not on the page of an empty conversation
const RUNNING = 'opencode-turn:is([status="pending"], [status="streaming"])';
const tabs = new BroadcastChannel("chat");

const parse = (html) => new DOMParser().parseFromString(html, "text/html");
let requests = 0;
const part = async (url, options = {}) => {
  const number = ++requests;
  const answer = await fetch(url, { ...options, headers: { "X-Chat": "part", ...options.headers } });
  if (answer.redirected || !answer.ok) throw new Error("refused", { cause: answer });
  return Object.assign(parse(await answer.text()), { number });
};

// As `part`, of a form with files: `fetch` does not tell how much of them has gone. `told` is called with it, from 0 to 1.
const upload = (url, body, told, headers = { "X-Chat": "part" }) => new Promise((done, failed) => {
  const number = ++requests, request = new XMLHttpRequest();
  request.open("POST", url);
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  request.upload.onprogress = ({ loaded, total }) => told(loaded / total);
  request.onload = () => {
    const { status, responseText, responseURL } = request;
    const redirected = headers["X-Chat"] && responseURL !== new URL(url, location).href;
    const answer = { status, redirected, text: async () => responseText };
    if (redirected || status >= 400) return failed(new Error("refused", { cause: answer }));
    done(Object.assign(parse(responseText), { number, at: responseURL }));
  };
  request.onerror = () => failed(new Error("unreachable"));
  request.send(body);
});

// -- scrolling: the end stays in sight for who looks at it, and nothing moves for who reads further up

let following = !location.hash && document.activeElement === document.body; // else somebody is at work in it already
let begun = null; // the ask that was gone to the beginning of
const jump = $("[data-jump]");
let place = window.scrollY; // only its reader scrolls a page up: the browser scrolls it down if something above has grown
const toEnd = () => { window.scrollTo({ top: root.scrollHeight }); place = window.scrollY; };
const follow = () => {
  const asks = $(".turn:last-child [data-oc-asks]:has(form)"); // an older one is not gone back to
  if (!asks || asks.offsetHeight < window.innerHeight / 2) return toEnd();
  const { id } = $("form", asks);
  if (id === begun) return;
  begun = id;
  asks.scrollIntoView(); // a long ask is read from its beginning, and then left to its reader
  place = window.scrollY;
  following = atEnd();
};
const atEnd = () => root.scrollHeight - window.scrollY - window.innerHeight < 120;

if (turns) {
  let height = root.scrollHeight;
  addEventListener("scroll", () => {
    const up = window.scrollY < place && root.scrollHeight === height; // if something has shrunk, it is not the reader either
    following = atEnd() || (following && !up);
    place = window.scrollY;
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

let billed = 0;
const adopt = (page) => {
  const bill = $("template[data-bill]", page);
  if (!bill || page.number < billed) return; // it was asked for before what is there
  billed = page.number;
  $("[data-bill]").replaceChildren(bill.content);
};

const pk = (turn) => Number(turn.dataset.pk);
const append = (page) => {
  for (const turn of $$(".turn", page)) {
    if (document.getElementById(turn.id)) continue;
    turns.insertBefore(turn, $$(".turn", turns).find((other) => pk(other) > pk(turn)) ?? null);
  }
  adopt(page);
  showState();
};

// Who pressed what goes away goes on at the prompt; on a touch screen that would bring up its keyboard.
const goOn = (from) => {
  const at = document.activeElement;
  if (!touch && (at === document.body || from?.contains(at))) prompt.focus({ preventScroll: true });
};

const refreshTurn = async (turn, lacks = () => true) => {
  const page = await part(`/m/${turn.dataset.pk}/`);
  const foot = $(".foot", page);
  if (foot && lacks(turn)) $(".foot", turn).replaceWith(foot);
  adopt(page);
};

// What has ended has another foot; again and again, as its end may not have been heard, and the foot may not arrive. Of
// two that arrive the second stays away: somebody may be pressing a button of the first.
const unsettled = (turn) => $(".foot__stop", turn);
const settle = () => {
  for (const turn of $$(".turn:has(.foot__stop)")) if (!$(RUNNING, turn)) refreshTurn(turn, unsettled).catch(() => {});
};

const showCurrent = () => $("[data-list] a[aria-current]")?.scrollIntoView({ block: "nearest" });
showCurrent();
$("#side").addEventListener("toggle", showCurrent); // on a phone it is a drawer

let known = turns ? Math.max(0, ...$$(".turn", turns).map(pk)) : 0; // up to here none is missing, whatever is sent from where
const refreshList = async () => {
  const list = $("[data-list]");
  const fresh = await part(list.dataset.list);
  const newest = Number($("a[aria-current]", fresh)?.dataset.newest ?? Infinity); // not listed: is it there?
  if (list.innerHTML !== fresh.body.innerHTML && !list.matches(":active")) { // what is being pressed stays until it is
    const focused = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
    list.replaceChildren(...fresh.body.childNodes);
    if (focused) $(`a[href="${focused}"]`, list)?.focus();
  }
  if (!turns || gone) return;
  settle();
  if (newest <= known) return;
  const page = await part(`${turns.dataset.turns}?after=${known}`);
  known = Math.max(known, ...$$(".turn", page).map(pk));
  append(page);
};

let stale = false, refreshing = false;
const refresh = async () => {
  stale = true; // what is under way was asked for before
  if (refreshing) return;
  refreshing = true;
  while (stale) { stale = false; await refreshList().catch(tellIfGone); }
  refreshing = false;
};
const changed = () => { refresh(); tabs.postMessage("changed"); };

tabs.addEventListener("message", refresh);
addEventListener("visibilitychange", () => document.hidden || refresh());
addEventListener("pageshow", (event) => event.persisted && refresh());
let beats = 0;
setInterval(() => document.hidden || ($(".dot--runs") || ++beats % 4 === 0 ? refresh() : null), 4000);

// -- a turn goes on, ends, loses its line

const offline = $("[data-offline]");
const said = $("[data-said]");
const showLine = () => { offline.hidden = gone || !$("opencode-turn[offline]"); };

addEventListener("opencode:offline", showLine);
addEventListener("opencode:online", () => { showLine(); if (offline.hidden) reached(); });
addEventListener("online", () => reached());
addEventListener("opencode:change", () => showState());
addEventListener("opencode:end", (event) => {
  showLine();
  showState();
  const status = event.target.getAttribute("status");
  if (status === "gone") tellGone();
  changed();
  if (gone) return;
  said.textContent = { completed: text("The answer is there."), failed: text("The answer failed."), cancelled: text("Stopped.") }[status] ?? "";
  settle();
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
  goOn($(".foot", turn));
  for (const each of ["opencode-turn", ".foot"]) $(each, turn).replaceWith($(each, page)); // its prompt may be edited by now
  said.textContent = text("Taken back.");
  showLine();
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
let asked = [];

const showState = () => {
  const turn = running();
  const stops = document.activeElement === stop;
  stop.hidden = !turn || prompt.value.trim() !== "";
  send.hidden = !stop.hidden;
  if (stops && stop.hidden) goOn(stop);
  const asks = $$("[data-oc-asks] form").map((form) => form.id);
  const comes = asks.some((id) => !asked.includes(id)), goes = asked.some((id) => !asks.includes(id));
  asked = asks;
  prompt.placeholder = asks.length ? prompt.dataset.whileAsked : placeholder;
  if (comes) said.textContent = text("The agent asks you something.");
  if (goes && answered) goOn(); // where turn.js has found no other ask to go to
  answered &&= asks.length > 0;
  if (comes || goes) changed();
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

const stopTurn = () => running()?.querySelector("form.foot__stop")?.requestSubmit();

// What is pasted is not cut off: it is kept, and not sent.
const measure = (field) => {
  const longest = Number(field.dataset.longest), { length } = field.value.trim();
  const told = text("This is too long: it has {length} characters, and {most} is the most.", { length: length.toLocaleString(root.lang), most: longest.toLocaleString(root.lang) });
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
const tellGone = () => { gone = true; showLine(); tell(text("This conversation was deleted."), $(".brand").href, text("To your conversations")); };
const tellIfGone = ({ cause }) => cause?.status === 404 && tellGone();

const tellWhy = async ({ cause: answer }) => {
  unreachable = !answer;
  if (answer?.redirected) tell(text("It could not be sent: you are logged out."), location.pathname, text("Log in"));
  else if (answer?.status === 404) tellGone();
  else if ([413, 415, 503].includes(answer?.status)) tell(await answer.text());
  else if (answer) tell(text("It could not be sent (the server said {status}). Try again.", { status: answer.status }));
  else if (navigator.onLine) tell(text("It could not be sent: the server cannot be reached. Try again."));
  else tell(text("You are offline. Try again when you are back."));
};

const hex = (byte) => byte.toString(16).padStart(2, "0");
const renewKey = () => { // without crypto.randomUUID, which only HTTPS and localhost have
  composer.elements.key.value = Array.from(crypto.getRandomValues(new Uint8Array(16)), hex).join("");
};
let failed = null; // with the key that the form has

// -- files to send: chosen, dropped or pasted; the field has all of them, so they also go without this script

const chooser = $("[data-files]"), attached = $("[data-attached]"), progress = $("[data-progress]");
let files = [];
const attach = (more) => {
  files = [...files, ...more];
  const all = new DataTransfer();
  for (const file of files) all.items.add(file);
  chooser.files = all.files;
  attached.replaceChildren(...files.map((file) => {
    const item = document.createElement("li"), name = document.createElement("span"), button = document.createElement("button");
    name.textContent = file.name;
    Object.assign(button, { type: "button", textContent: "×", ariaLabel: text("Remove {name}", { name: file.name }) });
    button.onclick = () => { files = files.filter((other) => other !== file); attach([]); prompt.focus(); };
    item.append(name, button);
    return item;
  }));
  attached.hidden = !files.length;
  if (more.length) { forgetTrouble(); said && (said.textContent = text("Files to send: {count}.", { count: files.length })); }
};
chooser.addEventListener("change", () => {
  const chosen = [...chooser.files];
  attach(chosen);
  goOn(chooser);
});
prompt.addEventListener("paste", (event) => {
  const pasted = [...event.clipboardData.files];
  if (!pasted.length || event.clipboardData.getData("text/plain")) return; // a copied text can have a picture of it beside
  event.preventDefault();
  attach(pasted);
});
const carries = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  composer.classList.add("composer--over");
});
addEventListener("dragleave", (event) => event.relatedTarget || composer.classList.remove("composer--over"));
addEventListener("drop", (event) => {
  composer.classList.remove("composer--over");
  if (!carries(event)) return;
  event.preventDefault();
  attach([...event.dataTransfer.files]);
  prompt.focus({ preventScroll: true });
});

// Send the form, with its files if there are any.
const sendForm = async (body, headers) => {
  if (!files.length) return part(composer.action, { method: "POST", body });
  progress.hidden = false;
  try {
    return await upload(composer.action, body, (share) => { progress.value = share; }, headers);
  } finally {
    progress.hidden = true;
    progress.value = 0;
  }
};

// The first prompt of a conversation leads to its page; its files are sent from here, as that shows how far they are.
const beginWithFiles = async () => {
  if (!prompt.value.trim() || send.disabled) return;
  send.disabled = true;
  forgetTrouble();
  try {
    const page = await sendForm(new FormData(composer), {});
    forgetDraft();
    location.assign(page.at);
  } catch (error) {
    send.disabled = false;
    const told = error.cause && parse(await error.cause.text()).querySelector("[data-not-taken]");
    told ? tell(told.textContent) : tellWhy(error);
  }
};

const sendPrompt = async () => {
  const text = prompt.value;
  if (!text.trim() || send.disabled) return;
  if (failed !== null && failed !== text) renewKey(); // other words are another message, whether or not that one has arrived
  const body = new FormData(composer);
  goOn(send);
  send.disabled = true;
  following = true;
  forgetTrouble();
  prompt.value = "";
  keepDraft();
  try {
    const page = await sendForm(body);
    files = [];
    attach([]);
    renewKey();
    failed = null;
    append(page);
    if (following) toEnd(); // else they have gone to read elsewhere meanwhile
    changed();
  } catch (error) {
    failed = text; // the same key: what did arrive is not sent twice
    following &&= atEnd();
    prompt.value = [text, prompt.value].filter(Boolean).join("\n"); // with what was written meanwhile
    keepDraft();
    tellWhy(error);
  } finally {
    send.disabled = false;
    showState();
  }
};

composer.addEventListener("submit", (event) => {
  if (!turns && files.length) { event.preventDefault(); return beginWithFiles(); }
  if (!turns) return forgetDraft();
  event.preventDefault();
  sendPrompt();
});
stop.addEventListener("click", ({ detail }) => detail > 1 || stopTurn()); // the second of two was for Send, which stood there
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
  if (event.defaultPrevented || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
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
    const texts = $$('[data-part="text"]', button.closest(".turn")).map((said) => said.innerText);
    await navigator.clipboard.writeText(texts.join("\n\n"));
    const use = $("use", button);
    const show = (icon) => use.setAttribute("href", use.getAttribute("href").replace(/#.*/, icon));
    show("#check");
    said.textContent = text("Copied.");
    setTimeout(show, 1500, "#copy");
  } else if (button?.matches("[data-theme-toggle]")) {
    setTheme({ "": "light", light: "dark", dark: "" }[localStorage.getItem("theme") ?? ""]);
  }
});

const setTheme = (theme) => {
  if (theme) { localStorage.setItem("theme", theme); root.dataset.theme = theme; } else { localStorage.removeItem("theme"); delete root.dataset.theme; }
  $("[data-theme-toggle]").ariaLabel = { light: text("Theme: light"), dark: text("Theme: dark") }[theme] ?? text("Theme: as the system");
};

setTheme(localStorage.getItem("theme") ?? "");
showState();
settle();
goOn();
