"use strict";
// Keeps the page up to date. Without it the page shows what was at the time when it was loaded.

const PAUSE = 1000;
const live = document.getElementById("live");
const news = document.getElementById("news");
const unregistered = document.getElementById("unregistered");
const trouble = document.getElementById("trouble");
const asSent = new WeakMap(); // what the server sent for a row, whatever has happened to it since
const loading = new WeakSet();
const complaints = { poll: "", action: "" };
let polling = false;

const rowsOf = (list) => [...list.children];
const seen = () => live.firstElementChild.dataset.seen;

function remember(root) {
  for (const list of root.querySelectorAll("[data-list]")) {
    for (const row of rowsOf(list)) asSent.set(row, row.outerHTML);
  }
}

// What an action complains of stays until the next one, whatever a poll finds meanwhile.
function complain(about, text) {
  complaints[about] = text;
  const shown = complaints.poll || complaints.action;
  // Written once more, it would be read aloud once more.
  if (trouble.textContent !== shown) trouble.textContent = shown;
  trouble.hidden = !shown;
}

// What people have opened, focused or selected stays so.

function keepOpen(old, fresh) {
  for (const before of old.querySelectorAll("details")) {
    const after = fresh.querySelector(`[id="${before.id}"]`);
    if (after) after.open = before.open;
  }
}

function replaceRow(old, fresh) {
  const FOCUSABLE = "summary, button, a, input:not([type=hidden]), pre[tabindex]";
  const position = [...old.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  const [loaded, place] = [old, fresh].map((row) => row.querySelector(".loaded"));
  keepOpen(old, fresh);
  if (loaded && place) place.replaceWith(loaded);
  old.replaceWith(fresh);
  if (position >= 0) fresh.querySelectorAll(FOCUSABLE)[position]?.focus({ preventScroll: true });
  const details = fresh.querySelector("details[data-load]");
  if (details?.open) load(details);
}

function renewList(list, freshList) {
  const old = new Map(rowsOf(list).map((row) => [row.id, row]));
  let next = list.firstElementChild;
  for (const fresh of rowsOf(freshList)) {
    const html = fresh.outerHTML;
    const row = old.get(fresh.id);
    old.delete(fresh.id);
    while (next && !freshList.querySelector(`:scope > [id="${next.id}"]`)) {
      const gone = next;
      next = next.nextElementSibling;
      gone.remove();
    }
    if (row) {
      if (row === next) next = next.nextElementSibling;
      else list.insertBefore(row, next);
      if (asSent.get(row) === html) continue;
      replaceRow(row, fresh);
    } else {
      list.insertBefore(fresh, next);
      addCopyButtons(fresh);
    }
    asSent.set(fresh, html);
  }
  while (next) {
    const gone = next;
    next = next.nextElementSibling;
    gone.remove();
  }
}

function renew(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  const lists = [...fresh.querySelectorAll("[data-list]")];
  for (const list of lists) renewList(document.getElementById(list.id), list);
  live.firstElementChild.dataset.seen = fresh.dataset.seen;
  unregistered.hidden = !fresh.querySelector("#no-webhooks");
  news.textContent = fresh.dataset.summary;
}

async function load(details) {
  if (loading.has(details)) return;
  loading.add(details);
  const answer = await fetch(details.dataset.load).catch(() => null);
  loading.delete(details);
  if (!answer?.ok) return;
  const html = await answer.text();
  const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  const place = details.querySelector(".loaded");
  keepOpen(place, fresh);
  place.replaceChildren(fresh);
}

async function poll() {
  if (polling) return;
  polling = true;
  try {
    const answer = await fetch(`page/live?since=${encodeURIComponent(seen())}`);
    if (answer.status === 200) renew(await answer.text());
    complain("poll", "");
  } catch {
    complain("poll", "The emulator does not answer any more. This page goes on when it does.");
  } finally {
    polling = false;
  }
}

function countDown() {
  for (const time of document.querySelectorAll("[data-until]")) {
    const left = (new Date(time.dataset.until) - Date.now()) / 1000;
    time.textContent = left > 0 ? `in ${Math.ceil(left)} s` : "now";
  }
}

async function submit(form) {
  // A disabled button would lose the focus.
  if (form.classList.contains("busy")) return;
  form.classList.add("busy");
  complain("action", "");
  let problem = "";
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
    if (answer.type !== "opaqueredirect") problem = (await answer.json()).error.message;
    await poll();
  } catch {
    problem = "The emulator did not answer to that.";
  }
  form.classList.remove("busy");
  complain("action", problem);
  if (!problem) news.textContent = "Done.";
}

function addCopyButtons(root) {
  if (!navigator.clipboard) return;
  for (const block of root.querySelectorAll("pre.copy")) {
    const box = document.createElement("div");
    box.className = "copyable";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent);
      news.textContent = button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    block.replaceWith(box);
    box.append(block, button);
  }
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  submit(event.target);
});

// It does not bubble.
document.addEventListener("toggle", (event) => {
  if (event.target.open && event.target.dataset?.load) load(event.target);
}, true);

document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });

remember(live);
addCopyButtons(document);
countDown();
setInterval(() => {
  countDown();
  if (!document.hidden) poll();
}, PAUSE);
