// The stock client in Node.js: connects, sends a command, hears its event, prints what it saw.
import { io } from "socket.io-client";

const [url, seat, cookie, transports] = process.argv.slice(2);
const socket = io(url, {
  auth: { seat, since: null },
  extraHeaders: { Cookie: cookie },
  transports: transports.split(","),
  reconnection: false,
});
const seen = { snapshot: false, events: [], answer: null, answers: 0, transport: null };
const KEPT = 40; // what a page sends in one go when its line is back

socket.on("connect_error", (error) => {
  console.log(JSON.stringify({ error: error.message }));
  process.exit(1);
});
socket.on("events", (events) => seen.events.push(...events.map((event) => event.type)));
socket.once("snapshot", async () => {
  seen.snapshot = true;
  const { engine } = socket.io;
  if (engine.transport.name === "polling" && transports.includes("websocket")) {
    await new Promise((resolve) => engine.once("upgrade", resolve));
  }
  seen.transport = engine.transport.name;
  seen.answer = await socket.timeout(10000).emitWithAck("question.ask", { text: "Có ai nghe không?" }, "js");
  const kept = Array.from({ length: KEPT }, (_, n) => socket.timeout(10000).emitWithAck("no.such", {}, `kept ${n}`));
  seen.answers = (await Promise.all(kept)).length;
  console.log(JSON.stringify(seen));
  socket.disconnect();
});
