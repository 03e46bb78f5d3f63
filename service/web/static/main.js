/** The page: asks what there is, shows what is chosen, and looks every two seconds how it does. */

import { health, metadata, Problem, read, useKey } from "./api.js";
import { Charts } from "./charts.js";
import { announce, element, the } from "./dom.js";
import { tryIt } from "./form.js";
import { fragment, heading, list, signature } from "./models.js";
import { reading, totals } from "./statistics.js";

const PERIOD = 2000;

const charts = new Charts(the("charts"), the("readings"));
/** @type {import("./models.js").Entry[]} */
let entries = [];
let generation = 0;
let openapi = null; // its promise, once somebody has asked
let last = null; // when statistics were read, and what they were
let wanted = location.hash;
let shown = ""; // the version whose form is on the page

/** What goes wrong is said on the page; a missing key is asked for. */
async function attempt(work) {
  try {
    await work();
    the("notice").replaceChildren();
  } catch (error) {
    const wantsKey = error instanceof Problem && [401, 403].includes(error.status);
    if (wantsKey) the("key").hidden = false;
    const sentence = error instanceof Problem ? error.message : "The service does not answer.";
    const isKnown = the("notice").textContent === sentence;
    if (!isKnown) the("notice").replaceChildren(element("p", { class: "notice" }, sentence));
    if (!(error instanceof Problem || error instanceof TypeError)) throw error;
  }
}

async function load() {
  openapi = null;
  const [server, index] = await Promise.all([read("v2"), read("v2/repository/index", "{}")]);
  the("version").textContent = server.version;
  the("key").hidden = true;
  entries = index;
  const names = [...new Set(entries.filter(({ state }) => state === "READY").map(({ name }) => name))];
  the("traffic-model").replaceChildren(
    element("option", { value: "" }, "all models"),
    ...names.map((name) => element("option", { value: name, selected: name === the("traffic-model").value }, name)),
  );
  await showChosen();
}

function chosen() {
  return entries.find((entry) => fragment(entry) === wanted) ?? entries.find(({ state }) => state === "READY") ?? entries[0];
}

async function showChosen() {
  const entry = chosen();
  the("models").querySelector("ul").replaceChildren(...list(entries, entry));
  const identity = entry ? `${fragment(entry)} of generation ${generation}` : "";
  if (identity === shown) return; // what somebody has typed stays
  shown = identity;
  the("model").replaceChildren(...(entry ? heading(entry) : [element("p", {}, "There is no model to show.")]));
  if (entry?.state === "READY") await showVersion(entry);
}

async function showVersion(entry) {
  const [described, examples] = await Promise.all([read(metadata(entry.name, entry.version)), examplesOf(entry)]);
  if (chosen() !== entry) return; // another one has been chosen meanwhile
  const subject = { name: entry.name, version: entry.version, metadata: described, examples };
  the("model").append(tryIt(subject), signature(described));
}

/** Requests that the model has answered at its start, where they are of a readable size. */
async function examplesOf({ name, version }) {
  openapi ??= read("openapi.json");
  const { paths } = await openapi;
  const exampleOf = (path) => paths[path]?.post.requestBody.content["application/json"].example;
  return {
    infer: exampleOf(`/v2/models/${name}/versions/${version}/infer`),
    predict: exampleOf(`/v1/models/${name}/versions/${version}:predict`),
  };
}

async function look() {
  const state = await health();
  showHealth(state.ready ? "ready" : state.reasons.join("; "), state.ready, state.generation);
  if (state.generation !== generation || !entries.length) {
    generation = state.generation;
    last = null;
    await load();
  }
  await measure();
}

function showHealth(sentence, isGood, number) {
  the("health").replaceChildren(
    element("span", { class: isGood ? "badge good" : "badge bad" }, sentence),
    ...(number ? [element("span", { class: "hint" }, `generation ${number}`)] : []),
  );
}

async function measure() {
  const model = the("traffic-model").value;
  const now = { time: performance.now(), model, counted: totals(await read("v2/models/stats"), model) };
  const before = last;
  last = now;
  if (!before || before.model !== model) return;
  const found = reading(before.counted, now.counted, (now.time - before.time) / 1000);
  if (found) charts.add(found);
}

/** Nobody looks at a tab that is hidden, so it asks for nothing. */
async function watch() {
  for (;;) {
    if (document.hidden) {
      await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
      last = null;
    }
    await attempt(look);
    if (the("notice").textContent && the("key").hidden) showHealth("unreachable", false);
    await new Promise((done) => setTimeout(done, PERIOD));
  }
}

the("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(the("key-field").value.trim());
  the("key-field").value = "";
  attempt(load);
});
the("traffic-model").addEventListener("change", () => {
  last = null;
  charts.clear();
});
addEventListener("hashchange", () =>
  attempt(async () => {
    if (!location.hash.startsWith("#/")) return; // it only leads to a part of the page
    wanted = location.hash;
    await showChosen();
    announce(`${chosen().name} is shown`);
  }),
);
watch();
