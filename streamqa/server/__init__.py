"""One port: websocket, REST, health, metrics and the first page."""
