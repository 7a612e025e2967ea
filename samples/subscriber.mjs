// Follows a running streamqa, in a browser (see subscriber.html) or in Node 22+: node samples/subscriber.mjs [URL]
// Shows resuming by hand: `since` and `epoch` of what was seen last make the server send what was missed.

export function follow(url, token, onMessage, place = { since: null, epoch: null }) {
  const socket = new WebSocket(url, token ? ["streamqa", `bearer.${token}`] : []); // a token never stands in a URL
  let log = null;
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "hello") {
      log = message.epoch;
      if (place.since === null) Object.assign(place, { since: message.last_seq, epoch: log });
      socket.send(JSON.stringify({ type: "subscribe", ...place, changed_only: true }));
    } else if (message.reason === "new_log") Object.assign(place, { since: 0, epoch: log });
    else place.since = Math.max(place.since, message.seq ?? message.to ?? message.last_seq ?? 0);
    onMessage(message);
  };
  socket.onclose = () => setTimeout(() => follow(url, token, onMessage, place), 500 + Math.random() * 1000);
}

export function line(message) {
  const { type, source, question, state, value, captured_at: at, t_s: t } = message;
  if (type === "answer") return `${at ?? t} ${source} ${question} ${state === "ok" ? value : `[${state}]`}`;
  if (type === "gap") return `missed: ${JSON.stringify(message)}`;
  return type === "source" ? `${source} is ${state}` : null;
}

const show = (message) => line(message) && console.log(line(message));
if (globalThis.process) follow(process.argv[2] ?? "ws://127.0.0.1:8765/ws", process.env.STREAMQA_TOKEN, show);
