// The reference: Socket.IO 4 on Node.js with handlers that only acknowledge. It stores nothing.
// Prints one JSON line with its port.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, httpCompression: false });

io.on("connection", (socket) => {
  socket.on("activity.answer", (_payload, _key, acknowledge) => acknowledge({ ok: true, result: {} }));
  socket.on("broadcast", (events, _key, acknowledge) => {
    io.emit("events", events);
    acknowledge({ ok: true, result: {} });
  });
});

http.listen(0, "127.0.0.1", 4096, () => console.log(JSON.stringify({ port: http.address().port })));
