// The alerts that are open now: filled from the log at each hello, then kept by what comes.

import { make, timeText, valueText } from "./text.js";

const open = new Map(); // alert_id → its newest record, with the picture that was told last
let heard = new Set(); // alerts of which something came since the log was asked last: that is newer than its answer
let list = null;
let section = null;

export function placeAlerts(where) {
  section = where;
  list = where.querySelector("ul");
}

// What is open, also if it began before this page; asked for again after each connection.
export async function fetchAlerts() {
  const since = heard = new Set();
  try {
    const response = await fetch("api/alerts");
    const records = response.ok ? await response.json() : null;
    if (!records || since !== heard) return; // asked again meanwhile
    for (const id of [...open.keys()]) if (!heard.has(id)) open.delete(id);
    for (const record of records.reverse()) if (!heard.has(record.alert_id)) open.set(record.alert_id, record);
    show();
  } catch {
    // No connection: the next hello asks again.
  }
}

export function takeAlert(record) {
  heard.add(record.alert_id);
  if (record.phase === "end") {
    open.delete(record.alert_id);
  } else {
    const before = open.get(record.alert_id);
    open.set(record.alert_id, { ...record, evidence: record.evidence ?? before?.evidence ?? null });
  }
  show();
}

function show() {
  section.hidden = open.size === 0;
  list.replaceChildren(...[...open.values()].reverse().map(item));
}

function item(record) {
  const began = { captured_at: record.began_at, t_s: record.began_t_s };
  const sure = record.peak_confidence === null ? "" : `, ${Math.round(100 * record.peak_confidence)} % sure`;
  const line = make(
    "li", { "data-severity": record.severity },
    make("span", { class: "state", "data-state": record.blind ? "stalled" : record.severity, text: record.blind ? "blind" : record.severity }),
    make("strong", { text: record.rule }),
    make("span", { text: `${valueText(record.value) ?? "no value"}${sure}` }),
    make("span", { class: "where", text: `${record.source}, since ${timeText(began)}${record.reason ? `, ${record.reason}` : ""}` }),
  );
  // Only a path of our own: whatever else a record might say is not followed.
  if (/^\/frames\/\d+\.jpg$/.test(record.evidence ?? "")) {
    const path = record.evidence.slice(1);
    const link = make("a", { href: path, target: "_blank", rel: "noopener" });
    link.append(make("img", { src: path, alt: `What was seen: ${record.rule} at ${record.source}`, loading: "lazy" }));
    line.append(link);
  }
  return line;
}
