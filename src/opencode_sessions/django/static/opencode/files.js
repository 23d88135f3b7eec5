// The files of answers: <div data-oc-files="…/files">…</div> in an <opencode-turn>, as the server has rendered them.
//
// They are asked for again when the turn has ended, and until the server has collected all of them. Previews and
// changes are loaded when they are opened. Nothing here needs more than `script-src 'self'`.

const PAUSES = [0, 300, 700, 1500, 3000, 6000, 12000, 24000]; // milliseconds

// In the language of the page, where it has {% opencode_texts %}.
const TEXTS = JSON.parse(document.getElementById("opencode-texts")?.textContent ?? "{}");
const text = (message) => TEXTS[message] ?? message;
const UNREACHABLE = text("The server cannot be reached. Try again.");

// The server has made what it sends. A page with Trusted Types allows this one policy, too.
const policy = window.trustedTypes?.createPolicy("opencode-files", { createHTML: (html) => html }) ?? { createHTML: (html) => html };

function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(html);
  return template.content;
}

const shown = new WeakSet(), drawn = new WeakMap();

async function show(box) {
  if (shown.has(box)) return;
  shown.add(box);
  for (const pause of PAUSES) {
    await new Promise((goOn) => setTimeout(goOn, pause));
    if (!box.isConnected) break;
    const answer = await fetch(box.dataset.ocFiles).catch(() => null);
    if (!answer?.ok || answer.redirected) continue; // a login page, say
    const html = await answer.text();
    if (html !== drawn.get(box)) box.replaceChildren(parsed(html)); // else what is open stays so
    drawn.set(box, html);
    if (!box.querySelector("[data-oc-due]")) break;
  }
  shown.delete(box);
}

async function load(details) {
  const box = details.querySelector("[data-oc-loaded]"), url = details.dataset.ocLoad;
  details.removeAttribute("data-oc-load");
  const answer = await fetch(url).catch(() => null);
  if (answer?.ok && !answer.redirected) return box.replaceChildren(parsed(await answer.text()));
  const told = answer && !answer.redirected && answer.headers.get("Content-Type")?.startsWith("text/plain");
  box.textContent = told ? await answer.text() : UNREACHABLE;
  if (!told) details.dataset.ocLoad = url; // it is tried again when it is opened again
}

document.addEventListener("toggle", ({ target }) => target.open && target.dataset?.ocLoad && load(target), true);
document.addEventListener("opencode:end", ({ target }) => {
  const box = target.querySelector("[data-oc-files]");
  if (box) show(box);
});
for (const due of document.querySelectorAll("[data-oc-files] [data-oc-due]")) show(due.closest("[data-oc-files]"));
