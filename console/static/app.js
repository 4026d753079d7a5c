"use strict";
// Live: a stream of server-sent events. Whether it is alive is judged by this browser's own timer.
const body = document.body, byId = (id) => document.getElementById(id);
let heard = performance.now(), health = {}, loaded = false, reloading = false, mainAt = performance.now();

const GOOD_WIDTH = 8.4, GOOD_HEIGHT = 4.3; // rem of a tile on which a name reads well

function fit() { // the columns with which all tiles are seen without scrolling, and read best
  const tiles = byId("tiles");
  if (!tiles || !body.classList.contains("wall") || innerWidth < 1000) return;
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize), gap = 0.3 * rem;
  const grids = tiles.classList.contains("communes") ? [tiles] : [...tiles.querySelectorAll(".grid")];
  const counts = grids.map((grid) => grid.children.length);
  let taken = 0.5 * rem * (grids.length - 1);
  for (const grid of grids) if (grid !== tiles) taken += grid.parentElement.offsetHeight - grid.offsetHeight;
  let best = { score: 0, columns: 1, tall: 4 * rem };
  for (let columns = 1; columns <= 40; columns += 1) {
    const rows = counts.reduce((sum, count) => sum + Math.ceil(count / columns), 0);
    const tall = (tiles.clientHeight - taken - gap * (rows - grids.length)) / rows;
    const wide = (tiles.clientWidth - gap * (columns - 1)) / columns;
    const score = Math.min(wide / GOOD_WIDTH, tall / GOOD_HEIGHT);
    if (score > best.score) best = { score, columns, tall };
  }
  const root = document.documentElement.style, tall = Math.min(best.tall, 8 * rem);
  root.setProperty("--columns", best.columns);
  root.setProperty("--tall", Math.floor(tall) + "px");
  body.classList.toggle("small", tall < 3.7 * rem);
  body.classList.toggle("tiny", tall < 1.9 * rem);
  fitAlerts();
}

function fitAlerts() { // whole alerts only; what does not fit is counted
  const list = document.querySelector("body.wall .alerts ol"), more = byId("more");
  if (!list || innerWidth < 1000) return;
  const items = [...list.children];
  items.forEach((item) => { item.hidden = false; });
  const beyond = Number(more.dataset.beyond);
  let hidden = 0;
  const tell = () => {
    more.hidden = !(hidden + beyond);
    more.textContent = "+ " + (hidden + beyond) + " " + more.dataset.words;
  };
  tell();
  const aside = byId("alerts"), full = () => list.scrollHeight > list.clientHeight + 1 || aside.scrollHeight > aside.clientHeight + 1;
  while (hidden < items.length && full()) {
    items[items.length - 1 - hidden].hidden = true;
    hidden += 1;
    tell();
  }
}

function show(wall) {
  byId("clock").textContent = wall.clock;
  byId("date").textContent = wall.date;
  byId("drill").hidden = wall.mode !== "demo";
  if (byId("rate")) byId("rate").textContent = wall.rate;
  if (byId("totals")) byId("totals").innerHTML = wall.totals;
  if (byId("alerts")) { byId("alerts").innerHTML = wall.alerts; fitAlerts(); }
  const rules = byId("rules");
  if (rules.innerHTML !== wall.rules) { rules.innerHTML = wall.rules; rules.hidden = !wall.rules; requestAnimationFrame(fit); }
  body.dataset.unjudgedCount = wall.unjudged;
  if (body.classList.contains("wall")) showTiles(wall.tiles);
  if (body.classList.contains("page") && performance.now() - mainAt > 3000) refresh();
}

function showTiles(now) {
  const tiles = document.querySelectorAll("[data-tile]");
  if (tiles.length !== Object.keys(now).length) { refresh(); return; }
  for (const tile of tiles) {
    if (!now[tile.dataset.tile]) { refresh(); return; }
    const [state, words, share] = now[tile.dataset.tile];
    const text = tile.querySelector("i"), bar = tile.querySelector(".share");
    if (!tile.classList.contains(state)) tile.className = "tile " + state;
    if (text.textContent !== words) text.textContent = words;
    if (bar && bar.dataset.now !== share) { bar.innerHTML = share; bar.dataset.now = share; }
  }
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
  const unheard = Math.floor((performance.now() - heard) / 1000);
  const age = unheard + (health.age || 0); // of what is shown: the stream may live and the engine not
  const lost = unheard >= 4, trouble = byId("trouble"), unjudged = Number(body.dataset.unjudgedCount || 0);
  const dead = lost || (!health.loading && (health.away || health.stopped));
  let text = "";
  if (lost) text = body.dataset.lost;
  else if (health.loading) text = body.dataset.loading + (health.prepared ? " " + health.prepared : "");
  else if (health.away) text = body.dataset.away;
  else if (health.stopped) text = body.dataset.stopped;
  else if (health.catching_up) text = body.dataset.catching;
  else if (unjudged) text = unjudged + " " + body.dataset.unjudged;
  body.classList.toggle("dead", Boolean(dead));
  body.classList.toggle("waiting", Boolean(!dead && (health.loading || health.catching_up)));
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
