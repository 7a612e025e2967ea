// The first page: pictures, the newest answer to each question, and what changed.

import { ageText, insteadText, make, stateText, timeText, valueText } from "./text.js";
import { listen } from "./wire.js";

const PICTURE_EVERY_MS = 500;
const CHANGES_SHOWN = 100;
const OLD_MS = 5000; // and three ticks of the question: then the answer is shown as old

const find = (id) => document.getElementById(id);
const rows = new Map(); // "question\nsource" → row
const figures = new Map(); // source → figure
let clockSkewMs = 0; // server's wall clock minus ours
let asked = new Map(); // question → its text
let patience = new Map(); // question → age in ms at which an answer no longer counts as current

function showConnection(state) {
  const element = find("connection");
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  element.textContent = state;
}

function hello(message) {
  clockSkewMs = Date.parse(message.at) - Date.now();
  asked = new Map(message.questions.map((question) => [question.id, question.ask]));
  patience = new Map(message.questions.map(({ id, every_s }) => [id, OLD_MS + 3000 * every_s]));
  find("model").textContent = `${message.model.name}, ${message.model.revision}, on ${message.model.device}`;
  find("note").hidden = !message.model.note;
  find("note").textContent = message.model.note;
  for (const { id } of message.sources) figureOf(id);
  for (const question of message.questions) {
    for (const { id } of message.sources) {
      if (!question.sources || question.sources.includes(id)) rowOf(question.id, id);
    }
  }
}

function rowOf(question, source) {
  const key = `${question}\n${source}`;
  if (rows.has(key)) return rows.get(key);
  const cells = {
    value: make("td", { class: "value none", text: "no answer yet" }),
    state: make("span", { class: "state", text: "waiting" }),
    confidence: make("td", { class: "number" }),
    time: make("time"),
    age: make("td", { class: "number age" }),
  };
  const name = make("th", { scope: "row", text: asked.get(question) ?? question }, make("small", { text: question }));
  const line = make(
    "tr", {}, name, make("td", { text: source }), cells.value, make("td", {}, cells.state),
    cells.confidence, make("td", {}, cells.time), cells.age,
  );
  const row = { ...cells, line, question, shownAt: null };
  rows.set(key, row);
  find("answers").append(line);
  return row;
}

function answer(record) {
  const row = rowOf(record.question, record.source);
  const value = record.state === "ok" ? valueText(record.value) : null;
  row.value.textContent = value ?? insteadText(record.state);
  row.value.classList.toggle("none", value === null);
  row.state.dataset.state = record.state;
  row.state.textContent = stateText(record.state, record.reason);
  const sure = record.confidence;
  row.confidence.textContent = sure === null || value === null ? "" : `${Math.round(100 * sure)} %`;
  row.time.textContent = timeText(record);
  row.time.dateTime = record.captured_at ?? "";
  row.shownAt = record.captured_at ? Date.parse(record.captured_at) : null;
  row.line.classList.remove("old");
  if (!record.captured_at) row.age.textContent = "recorded";
  if (record.changed) {
    change(record, `${asked.get(record.question) ?? record.question}`, value ?? insteadText(record.state), record.state);
  }
}

function change(record, what, value, state) {
  const list = find("changes");
  list.querySelector(".empty")?.remove();
  list.prepend(make(
    "li", {}, make("time", { text: timeText(record), datetime: record.captured_at ?? record.at ?? "" }),
    make("span", {}, make("strong", { text: value }), make("span", { class: "where", text: `  ${what}${record.source ? ` (${record.source})` : ""}` })),
    make("span", { class: "state", "data-state": state, text: state }),
  ));
  while (list.children.length > CHANGES_SHOWN) list.lastElementChild.remove();
}

function figureOf(source) {
  if (figures.has(source)) return figures.get(source);
  const image = make("img", { alt: `Latest picture of ${source}` });
  const state = make("span", { class: "state", text: "waiting" });
  const reason = make("span", { class: "reason" });
  const figure = make(
    "figure", { class: "without" }, make("div", { class: "frame" }, image),
    make("figcaption", {}, make("strong", { text: source }), state, reason),
  );
  figures.set(source, { state, reason });
  find("pictures").append(figure);
  watch(image, figure, source);
  return figures.get(source);
}

// Asks for the next picture only once the last has come, and only while somebody can see it.
function watch(image, figure, source) {
  const address = `sources/${encodeURIComponent(source)}/latest.jpg`;
  const next = () => {
    if (document.hidden) {
      document.addEventListener("visibilitychange", next, { once: true });
      return;
    }
    const fresh = new Image();
    const after = (shown) => {
      figure.classList.toggle("without", !shown);
      if (shown) image.src = fresh.src;
      setTimeout(next, shown ? PICTURE_EVERY_MS : 4 * PICTURE_EVERY_MS);
    };
    fresh.onload = () => after(true);
    fresh.onerror = () => after(false);
    fresh.src = `${address}?t=${Date.now()}`;
  };
  next();
}

function source(record) {
  const figure = figureOf(record.source);
  figure.state.dataset.state = record.state;
  figure.state.textContent = record.state;
  figure.reason.textContent = record.reason ?? "";
  change(record, record.reason ?? "", `source ${record.state}`, record.state);
}

// Only a record: an error without a number is about this connection.
function error(record) {
  if (Number.isInteger(record.seq)) change(record, record.message, "trouble", "error");
}

function gap(message) {
  const text = message.reason === "new_log" ? "a new log began" : `records ${message.from} to ${message.to} are missing`;
  change({ at: new Date().toISOString() }, message.reason.replaceAll("_", " "), text, "gap");
}

// Runs whether or not anything arrives: an answer must not look current because the connection is gone.
setInterval(() => {
  const now = Date.now() + clockSkewMs;
  for (const row of rows.values()) {
    if (row.shownAt === null) continue;
    const age = now - row.shownAt;
    row.age.textContent = ageText(age);
    row.line.classList.toggle("old", age > (patience.get(row.question) ?? OLD_MS));
  }
}, 200);

find("changes").append(make("li", { class: "empty", text: "nothing yet" }));
const handlers = { hello, answer, source, error, gap };
listen((message) => handlers[message.type]?.(message), showConnection);
