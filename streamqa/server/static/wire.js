// The websocket: reconnects for ever and goes on where it was, so that no answer is lost or shown twice.

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15000;
const SILENCE_MS = 45000; // three times the longest promised pause between heartbeats
const REMEMBERED = 500; // records of the past to ask for on the first connection

function socketUrl() {
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

// Calls onMessage for every hello, record and gap; onState with "connecting", "connected" or "reconnecting".
export function listen(onMessage, onState) {
  let since = null; // our place in the log
  let epoch = null; // the log it is a place in
  let failures = 0;

  function connect() {
    onState(failures || since !== null ? "reconnecting" : "connecting");
    const socket = new WebSocket(socketUrl());
    let silence = setTimeout(() => socket.close(), SILENCE_MS);
    let log = null; // the epoch of this connection

    socket.onmessage = (event) => {
      clearTimeout(silence);
      silence = setTimeout(() => socket.close(), SILENCE_MS);
      const message = JSON.parse(event.data);
      if (message.type === "hello") {
        failures = 0;
        log = message.epoch;
        if (since === null) {
          since = Math.max(message.last_seq - REMEMBERED, message.first_seq - 1, 0);
          epoch = log;
        }
        socket.send(JSON.stringify({ type: "subscribe", since, epoch }));
        onState("connected");
      } else if (message.reason === "new_log") {
        since = 0;
        epoch = log;
      } else {
        // What has no number (the log is full, a newer server's news) leaves our place where it is.
        since = Math.max(since, message.seq ?? { gap: message.to, heartbeat: message.last_seq }[message.type] ?? 0);
        if (message.type === "heartbeat") return;
      }
      onMessage(message);
    };

    socket.onclose = () => {
      clearTimeout(silence);
      // Whose session is over is asked for its token again.
      fetch("api/visitor").then((response) => response.status === 401 && location.reload()).catch(() => {});
      failures += 1;
      onState("reconnecting");
      const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1));
      setTimeout(connect, longest * (0.5 + Math.random() / 2));
    };
  }

  connect();
}
