/** The page: asks what there is, shows what is chosen, and looks every two seconds how it does. */

import { health, metadata, Problem, read, useKey } from "./api.js";
import { Charts } from "./charts.js";
import { element, the } from "./dom.js";
import { fragment, heading, list, signature } from "./models.js";
import { reading, totals } from "./statistics.js";
import { tryIt } from "./try.js";

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
    if (the("key").hidden) the("notice").replaceChildren();
  } catch (error) {
    generation = 0; // all is asked for again
    if (error instanceof Problem) {
      if ([401, 403].includes(error.status)) the("key").hidden = false;
      complain(error.message);
    } else if (error instanceof TypeError) { // what `fetch` throws
      showHealth("unreachable", false);
      complain("The service does not answer.");
    } else {
      throw error;
    }
  }
}

/** Once, and not every two seconds, lest it is read aloud each time. */
function complain(sentence) {
  if (the("notice").textContent === sentence) return;
  the("notice").replaceChildren(element("p", { class: "notice" }, sentence));
}

async function load(number) {
  openapi = null;
  const [server, index] = await Promise.all([read("v2"), read("v2/repository/index", "{}")]);
  the("version").textContent = server.version;
  entries = index;
  generation = number;
  const names = [...new Set(entries.filter(({ state }) => state === "READY").map(({ name }) => name))];
  the("traffic-model").replaceChildren(
    element("option", { value: "" }, "all models"),
    ...names.map((name) => element("option", { value: name, selected: name === the("traffic-model").value }, name)),
  );
  await showChosen();
}

function chosen() {
  const named = entries.find((entry) => fragment(entry) === wanted);
  return named ?? entries.find(({ state }) => state === "READY") ?? entries[0];
}

async function showChosen() {
  const entry = chosen();
  the("models").querySelector("ul").replaceChildren(...list(entries, entry));
  const identity = entry ? `${fragment(entry)} of generation ${generation}` : "";
  if (identity === shown) return; // what somebody has typed stays
  shown = "";
  the("model").replaceChildren(...(entry ? heading(entry) : [element("p", {}, "There is no model to show.")]));
  if (entry?.state === "READY") await showVersion(entry);
  if (chosen() === entry) shown = identity;
}

async function showVersion(entry) {
  const [described, examples] = await Promise.all([read(metadata(entry.name, entry.version)), examplesOf(entry)]);
  if (chosen() !== entry) return; // another one has been chosen meanwhile
  const subject = { name: entry.name, version: entry.version, metadata: described, examples };
  the("model").replaceChildren(...heading(entry), tryIt(subject), signature(described));
}

/** Requests that the model has answered at its start, where they are of a readable size. */
async function examplesOf({ name, version }) {
  openapi ??= read("openapi.json").catch(() => ({ paths: {} })); // fields hold zeros then
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
  if (!the("key").hidden) return;
  if (state.generation && state.generation !== generation) {
    last = null;
    await load(state.generation);
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
    await new Promise((done) => setTimeout(done, PERIOD));
  }
}

the("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(the("key-field").value.trim());
  the("key-field").value = "";
  the("key").hidden = true;
  attempt(look);
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
    the("model").focus({ preventScroll: true });
    const { top } = the("model").getBoundingClientRect();
    if (top < 0 || top > innerHeight / 2) the("model").scrollIntoView(); // on a phone it is below the list
  }),
);
watch();
