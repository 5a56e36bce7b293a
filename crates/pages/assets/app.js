// Live pages, relative times and small comforts. Every page works without this file; it only keeps a page
// current and spares a click.
//
// Live: the server says that something changed, never what. The page is then fetched again from its own
// address and morphed in place, so a first page and a live one are the same template, nothing is lost over a
// reconnect, and a restart of the server is a reconnect like any other.

const RECONNECT_MIN_MS = 500;
const RECONNECT_MAX_MS = 15_000;
const AGO_EVERY_MS = 10_000;

const live = {
  source: null, wait: RECONNECT_MIN_MS, busy: false, dirty: false, lost: false, timer: 0,
};

const path = () => document.body.dataset.live;

function connect() {
  clearTimeout(live.timer);
  live.source?.close();
  live.source = null;
  if (!path() || document.hidden) return;
  const source = new EventSource(path());
  live.source = source;
  source.addEventListener("hello", (event) => {
    live.wait = RECONNECT_MIN_MS;
    const back = live.lost;
    // Another boot may bring another version of these files. Only after a break: of several servers behind one
    // address one may make the page and another one tell of changes.
    if (back && document.body.dataset.boot !== event.data) return location.reload();
    offline(false);
    if (back) refresh();
  });
  source.addEventListener("change", refresh);
  source.addEventListener("text", (event) => write(JSON.parse(event.data)));
  source.addEventListener("end", () => { source.close(); live.source = null; refresh(); });
  source.onerror = () => {
    // Whatever happened, one way back: close, wait a little longer each time, begin again.
    source.close();
    if (live.source !== source) return;
    offline(true);
    live.timer = setTimeout(connect, live.wait * (0.5 + Math.random()));
    live.wait = Math.min(live.wait * 2, RECONNECT_MAX_MS);
  };
}

// What a model writes just now: text, whatever is in it.
function write({ first, text }) {
  const place = document.getElementById("writing");
  if (!place) return;
  const page = place.querySelector("pre");
  const stuck = place.hidden || page.scrollHeight - page.scrollTop - page.clientHeight < 40;
  if (first) page.textContent = "";
  page.append(text);
  page.normalize();
  place.hidden = false;
  if (stuck) page.scrollTop = page.scrollHeight;
}

function offline(is) {
  live.lost = is;
  clearTimeout(offline.timer);
  const note = document.getElementById("offline");
  if (!note) return;
  // A short break is nobody's business.
  if (is) offline.timer = setTimeout(() => { note.hidden = false; }, 1500);
  else note.hidden = true;
}

async function refresh() {
  live.dirty = true;
  if (live.busy || document.hidden) return;
  live.busy = true;
  try {
    while (live.dirty) {
      live.dirty = false;
      await fetchAgain();
    }
  } catch { live.dirty = false; } finally { live.busy = false; }
}

async function fetchAgain() {
  const main = document.getElementById("main");
  const log = main.querySelector("[data-stick]");
  const stuck = log && log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const answer = await fetch(location.href, { headers: { "HX-Request": "true" } });
  if (answer.status === 401 || answer.redirected) return location.reload();
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const next = page.getElementById("main");
  if (!next) return;
  document.title = page.title;
  for (const id of ["waiting-side", "waiting-tab"]) {
    const [here, there] = [document.getElementById(id), page.getElementById(id)];
    if (here && there) { here.textContent = there.textContent; here.hidden = there.hidden; }
  }
  await htmx.swap({ sourceElement: main, target: main, swap: "innerMorph", text: next.innerHTML });
  if (path() !== page.body.dataset.live) {
    // A run has ended, or goes on from a later event: the address is for the next connection.
    const was = path();
    document.body.dataset.live = page.body.dataset.live;
    if (!path() || !was) connect();
  }
  if (stuck) log.scrollTop = log.scrollHeight;
  dress(main);
}

// --- relative times ---
function ago() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const words = relative(Number(time.dataset.ago), now);
    if (time.textContent !== words) time.textContent = words;
  }
}

// The same words as crates/pages/src/words.rs.
function relative(at, now) {
  const distance = at - now, size = Math.abs(distance);
  if (size < 60_000) return distance > 10_000 ? "in a moment" : "just now";
  const words = size < 3_600_000 ? `${Math.floor(size / 60_000)} min`
    : size < 86_400_000 ? `${Math.floor(size / 3_600_000)} h` : `${Math.floor(size / 86_400_000)} d`;
  return distance > 0 ? `in ${words}` : `${words} ago`;
}

// --- theme ---
const THEMES = ["auto", "light", "dark"];
function theme(next) {
  const root = document.documentElement;
  if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
  try { if (next === "auto") localStorage.removeItem("theme"); else localStorage.setItem("theme", next); } catch { /* private mode: it holds for this page */ }
  dressTheme();
  document.dispatchEvent(new CustomEvent("aw:theme"));
}
function dressTheme() {
  const now = document.documentElement.dataset.theme ?? "auto";
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.hidden = false;
    button.querySelector("span").textContent = `Theme: ${now}`;
  }
}

// --- what is not there without script ---
function dress(root) {
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
  const zone = root.querySelector("input[data-zone]");
  if (zone && zone.value === "UTC" && !zone.dataset.asked) {
    zone.dataset.asked = "yes";
    zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  }
}

document.addEventListener("click", (event) => {
  const at = event.target.closest?.("[data-theme-toggle],[data-copy],[data-fill]");
  if (!at) {
    for (const open of document.querySelectorAll("details.menu[open],details.more[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
    return;
  }
  if ("themeToggle" in at.dataset) {
    const now = document.documentElement.dataset.theme ?? "auto";
    theme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  } else if (at.dataset.copy) {
    navigator.clipboard?.writeText(document.getElementById(at.dataset.copy).textContent);
    at.textContent = "Copied";
  } else {
    const intent = document.getElementById("intent");
    intent.value = at.dataset.fill;
    intent.focus();
    htmx.trigger(intent, "aw:match");
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.menu[open],details.more[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});
// A form is sent once; when the browser shows the page again from its memory it can be sent anew.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post") return;
  const form = event.target;
  setTimeout(() => { for (const button of form.querySelectorAll("button")) button.disabled = true; });
});
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form button[disabled]")) button.disabled = false;
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { live.source?.close(); live.source = null; clearTimeout(live.timer); return; }
  ago();
  if (path()) { connect(); refresh(); }
});

document.documentElement.classList.add("js");
dressTheme();
dress(document);
for (const log of document.querySelectorAll("[data-stick]")) log.scrollTop = log.scrollHeight;
connect();
ago();
setInterval(ago, AGO_EVERY_MS);
// What was done a moment ago is said once: not again when the page is fetched anew.
if (new URLSearchParams(location.search).has("did")) {
  const address = new URL(location.href);
  address.searchParams.delete("did");
  history.replaceState(null, "", address);
}
