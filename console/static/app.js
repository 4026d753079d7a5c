"use strict";
// Live: a stream of server-sent events. Whether it is alive is judged by this browser's own timer.
const body = document.body, byId = (id) => document.getElementById(id);
let heard = performance.now(), health = {}, loaded = false, reloading = false, mainAt = performance.now();

function fit() { // the largest tiles with which all schools are seen without scrolling
  const tiles = byId("tiles");
  if (!tiles || !body.classList.contains("wall") || innerWidth < 1000) return;
  const root = document.documentElement.style;
  const set = (w, h) => { root.setProperty("--tile", w + "rem"); root.setProperty("--tall", h + "rem"); };
  const fits = () => tiles.scrollHeight <= tiles.clientHeight + 1;
  body.classList.remove("dense");
  let found = false;
  for (const [w, h] of [[15, 7], [14, 6], [13, 5], [12, 4.6], [11.5, 4.2], [11, 3.8], [10.5, 3.4], [10, 3.9], [8.3, 4.2], [8.3, 4], [8.3, 3.8], [8.3, 2.9], [6.6, 2.8]]) {
    set(w, h);
    if ((found = fits())) break;
  }
  if (!found) {
    body.classList.add("dense");
    for (let size = 4; size >= 0.5 && !found; size -= 0.1) { set(size, size); found = fits(); }
  }
  fitAlerts();
}

function fitAlerts() { // whole alerts only; what does not fit is counted
  const list = document.querySelector("body.wall .alerts ol"), more = byId("more");
  if (!list || innerWidth < 1000) return;
  const items = [...list.children];
  items.forEach((item) => { item.hidden = false; });
  more.hidden = true;
  let hidden = 0;
  const aside = byId("alerts"), full = () => list.scrollHeight > list.clientHeight + 1 || aside.scrollHeight > aside.clientHeight + 1;
  while (hidden < items.length && full()) {
    items[items.length - 1 - hidden].hidden = true;
    hidden += 1;
    more.hidden = false;
    more.textContent = "+ " + hidden + " " + more.dataset.words;
  }
}

function show(wall) {
  byId("clock").textContent = wall.clock;
  byId("date").textContent = wall.date;
  byId("drill").hidden = wall.mode !== "demo";
  if (byId("rate")) byId("rate").textContent = wall.rate;
  if (byId("totals")) byId("totals").innerHTML = wall.totals;
  if (byId("alerts")) { byId("alerts").innerHTML = wall.alerts; fitAlerts(); }
  const tiles = document.querySelectorAll("[data-school]");
  if (byId("tiles") && tiles.length !== Object.keys(wall.tiles).length) { refresh(); return; }
  let unjudged = 0;
  for (const code in wall.tiles) if (wall.tiles[code][0] === "unjudged") unjudged += 1;
  body.dataset.unjudgedCount = unjudged;
  for (const tile of tiles) {
    const now = wall.tiles[tile.dataset.school];
    if (!now) { refresh(); return; }
    const [state, words] = now;
    if (!tile.classList.contains(state)) tile.className = "tile " + state;
    if (tile.lastChild.textContent !== words) tile.lastChild.textContent = words;
  }
  if (body.classList.contains("page") && performance.now() - mainAt > 3000) refresh();
}

async function refresh() { // the same page's main part again: pages, and a wall whose schools changed
  if (reloading) return;
  reloading = true;
  try {
    const answer = await fetch(location.href);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    const focused = document.activeElement && byId("main").contains(document.activeElement);
    if (fresh && !focused) byId("main").replaceChildren(...fresh.childNodes);
    fit();
  } catch (error) {
    console.info("not refreshed; the stream says why", error);
  } finally { reloading = false; mainAt = performance.now(); }
}

function judge() { // each half second, whatever the stream does
  const age = Math.floor((performance.now() - heard) / 1000);
  const lost = age >= 4, trouble = byId("trouble"), unjudged = Number(body.dataset.unjudgedCount || 0);
  const dead = lost || health.away || health.stopped;
  let text = "";
  if (lost) text = body.dataset.lost;
  else if (health.away) text = body.dataset.away;
  else if (health.stopped) text = body.dataset.stopped;
  else if (health.catching_up) text = body.dataset.catching;
  else if (unjudged) text = unjudged + " " + body.dataset.unjudged;
  body.classList.toggle("dead", Boolean(dead));
  if (trouble.textContent !== text) { trouble.textContent = text; requestAnimationFrame(fit); }
  trouble.hidden = !text;
  trouble.classList.toggle("soft", !dead && !unjudged);
  const updated = byId("updated");
  updated.textContent = body.dataset.updated + " " + age + " " + body.dataset.ago;
  updated.classList.toggle("old", Boolean(dead));
}

let source;
function listen() {
  source = new EventSource(body.dataset.stream);
  source.addEventListener("wall", (event) => { heard = performance.now(); show(JSON.parse(event.data)); });
  source.addEventListener("tick", (event) => { heard = performance.now(); health = JSON.parse(event.data); judge(); });
  source.addEventListener("error", () => { // a browser gives up after an answer that is no stream: begin again
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  });
}

addEventListener("resize", fit);
fit();
listen();
setInterval(judge, 500);
