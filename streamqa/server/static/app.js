// The first page: pictures, the newest answer to each question, and what changed.

import { fetchAlerts, placeAlerts, takeAlert } from "./alerts.js";
import { ageText, gapText, insteadText, make, stateText, timeText, valueText } from "./text.js";
import { listen } from "./wire.js";

const PICTURE_EVERY_MS = 500;
const CHANGES_SHOWN = 100;
const MODEL_EVERY_MS = 2000; // while it is being loaded
const OLD_MS = 5000; // and three ticks of the question: then the answer is shown as old

const find = (id) => document.getElementById(id);
const rows = new Map(); // "question\nsource" → row
const figures = new Map(); // source → figure
let clockSkewMs = 0; // server's wall clock minus ours
let asked = new Map(); // question → what it is, as in hello
let known = 0; // the newest change that `asked` and the sources account for
let kept = true; // whether the log takes what comes
let asking = null; // a timer: what is asked and watched is about to be fetched
let patience = new Map(); // question → age in ms at which an answer no longer counts as current

function showConnection(state) {
  const element = find("connection");
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  element.textContent = state;
}

function hello(message) {
  clockSkewMs = Date.parse(message.at) - Date.now();
  known = message.last_seq;
  asked = new Map(message.questions.map((question) => [question.id, question]));
  patience = new Map(message.questions.map(({ id, every_s }) => [id, OLD_MS + 3000 * every_s]));
  showModel(message.model);
  const sources = message.sources.map((one) => one.id);
  for (const id of figures.keys()) if (!sources.includes(id)) removeFigure(id);
  for (const one of message.sources) showSource(figureOf(one.id), one);
  const pairs = message.questions.flatMap((question) => (
    sources.filter((id) => !question.sources || question.sources.includes(id)).map((id) => [question, id])
  ));
  const wanted = new Set(pairs.map(([question, id]) => keyOf(question.id, id)));
  for (const [key, row] of rows) {
    if (wanted.has(key)) continue;
    row.line.remove();
    rows.delete(key);
  }
  for (const [question, id] of pairs) showQuestion(rowOf(question.id, id), question);
}

function showModel(model) {
  find("model").textContent = model ? `${model.name}, ${model.revision}, on ${model.device}` : "the model is being loaded";
  find("note").hidden = !model?.note;
  find("note").textContent = model?.note ?? "";
  if (!model) refresh(MODEL_EVERY_MS);
}

function showQuestion(row, question) {
  row.text.textContent = question.ask;
  if (question.paused) {
    row.state.dataset.state = "paused";
    row.state.textContent = "paused";
  } else if (row.state.textContent === "paused") {
    delete row.state.dataset.state;
    row.state.textContent = "waiting";
  }
}

// What is asked and watched now; `api/info` says of both what a hello says.
function refresh(waitMs) {
  clearTimeout(asking);
  asking = setTimeout(async () => {
    try {
      const response = await fetch("api/info");
      if (response.ok) hello(await response.json());
    } catch {
      // No connection: when there is one again, its hello says the same.
    }
  }, waitMs);
}

const keyOf = (question, source) => `${question}\n${source}`;
const textOf = (question) => asked.get(question)?.ask ?? question;

function rowOf(question, source) {
  const key = keyOf(question, source);
  if (rows.has(key)) return rows.get(key);
  const cells = {
    value: make("td", { class: "value none", text: "no answer yet" }),
    state: make("span", { class: "state", text: "waiting" }),
    confidence: make("td", { class: "number" }),
    time: make("time"),
    age: make("td", { class: "number age" }),
  };
  const text = make("span", { text: textOf(question) });
  const name = make("th", { scope: "row" }, text, make("small", { text: question }));
  const line = make(
    "tr", {}, name, make("td", { text: source }), cells.value, make("td", {}, cells.state),
    cells.confidence, make("td", {}, cells.time), cells.age,
  );
  const row = { ...cells, line, text, question, shownAt: null };
  rows.set(key, row);
  find("answers").append(line);
  return row;
}

function answer(record) {
  const value = record.state === "ok" ? valueText(record.value) : null;
  const said = value ?? insteadText(record.state);
  if (record.changed) change(record, textOf(record.question), said, record.state);
  const row = rows.get(keyOf(record.question, record.source));
  if (!row) return; // of the past: it is not asked any more
  row.value.textContent = said;
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
  figures.set(source, { state, reason, figure });
  find("pictures").append(figure);
  watch(image, figure, source);
  return figures.get(source);
}

function removeFigure(source) {
  figures.get(source).figure.remove();
  figures.delete(source);
}

function showSource(figure, { state, reason }) {
  figure.state.dataset.state = state;
  figure.state.textContent = state;
  figure.reason.textContent = reason ?? "";
}

// Asks for the next picture only once the last has come, and only while somebody can see it.
function watch(image, figure, source) {
  const address = `sources/${encodeURIComponent(source)}/latest.jpg`;
  const next = () => {
    if (!figure.isConnected) return; // the source was removed
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
  const figure = figures.get(record.source);
  if (figure) showSource(figure, record);
  change(record, record.reason ?? "", `source ${record.state}`, record.state);
}

// Only a record: an error without a number is about this connection.
function error(record) {
  if (Number.isInteger(record.seq)) change(record, record.message, "trouble", "error");
}

const PHASES = { begin: "alert", update: "alert goes on", end: "alert over" };

function alert(record) {
  takeAlert(record);
  const said = valueText(record.value) ?? "no value";
  const why = record.reason ? `, ${record.blind ? "blind, " : ""}${record.reason}` : "";
  const about = { captured_at: record.began_at ? record.at : null, t_s: record.t_s, source: record.source };
  change(about, `${textOf(record.question)}: ${said}${why}`, PHASES[record.phase], record.severity);
}

function gap(message) {
  const at = message.at ?? new Date().toISOString();
  change({ at }, message.reason.replaceAll("_", " "), gapText(message), "gap");
}

// A question or a source was added, changed, paused, resumed or removed.
function changed(record) {
  change(record, `${record.what} by ${record.by}`, `${record.id} ${record.action}`, "change");
  if (!Number.isInteger(record.seq) || record.seq > known) refresh(0);
}

// Told once, and again when it has been well in between.
function keeping(message) {
  if (message.durable === false && kept) {
    kept = false;
    change({ at: new Date().toISOString() }, "answers are shown and not kept", "the log is full", "gap");
  } else if (Number.isInteger(message.seq)) {
    kept = true;
  }
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

placeAlerts(find("alerts"));
find("changes").append(make("li", { class: "empty", text: "nothing yet" }));
const handlers = { hello, answer, alert, source, error, gap, change: changed };
listen((message) => {
  keeping(message);
  if (message.type === "hello") fetchAlerts();
  handlers[message.type]?.(message);
}, showConnection);
