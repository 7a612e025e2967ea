// Prints what changes, from a running streamqa, in a browser or in Node 22+: node samples/subscriber.mjs [URL]
// Shows resuming by hand: `since` and `epoch` of what was seen last make the server replay what was missed.

const url = globalThis.process?.argv[2] ?? "ws://127.0.0.1:8765/ws";
let since = null;
let epoch = null;

function connect() {
  const socket = new WebSocket(url);
  socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", since, epoch }));
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "hello") {
      if (epoch !== null && message.epoch !== epoch) since = 0; // another log: its numbers start anew
      epoch = message.epoch;
      since ??= message.last_seq;
    }
    if (message.type === "gap") console.warn("missed", message.from, "to", message.to, message.reason);
    if (message.seq == null || message.seq <= since) return;
    since = message.seq;
    if (message.type === "answer" && message.changed) {
      console.log(message.captured_at ?? message.t_s, message.source, message.question, message.state, message.value);
    }
  };
  socket.onclose = () => setTimeout(connect, 500 + Math.random() * 1000);
}

connect();
