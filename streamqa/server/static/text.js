// Words for values and times. Everything ends as text: what a model or a camera says is never made HTML.

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1, hourCycle: "h23",
});
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

// An answer as a person reads it; null when there is none, which is not a "no".
export function valueText(value) {
  if (value === null || value === undefined) return null;
  if (value === true) return "yes";
  if (value === false) return "no";
  if (Array.isArray(value)) return value.length === 1 ? "1 place" : `${value.length} places`;
  return String(value);
}

export function stateText(state, reason) {
  return reason ? `${state}: ${reason.replaceAll("_", " ")}` : state;
}

// What stands where a value would, in states without one.
export function insteadText(state) {
  return { unsure: "could not tell", stale: "too old", error: "failed" }[state] ?? "no answer";
}

// The capture time of a frame; recorded video has a place in the recording instead.
export function timeText(record) {
  const wall = record.captured_at ?? record.at;
  if (!wall) return record.t_s === null || record.t_s === undefined ? "" : `at ${streamText(record.t_s)}`;
  const moment = new Date(wall);
  const today = new Date().toDateString() === moment.toDateString();
  return today ? CLOCK.format(moment) : `${DAY.format(moment)} ${CLOCK.format(moment)}`;
}

function streamText(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

// What will not come, or is not kept.
export function gapText({ reason, from, to, count }) {
  if (reason === "new_log") return "a new log began";
  if (from === null) return `${count} records were not kept`;
  return `records ${from} to ${to} are missing`;
}

export function ageText(ms) {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

// An element with text, attributes and children.
export function make(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}
