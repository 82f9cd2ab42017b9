// What the replay page does where the network or the server does not answer.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { Patience } from "../../static/js/replay/patience.js";

test("asks until it is answered, at once where somebody asks for it", async () => {
  let [asked, answering] = [0, false];
  const server = createServer((_request, response) => {
    asked += 1;
    response.writeHead(answering ? 200 : 503).end(answering ? '{"duration_ms": 7}' : "{");
  }).listen(0);
  await new Promise((resolve) => server.once("listening", resolve));
  const url = `http://127.0.0.1:${server.address().port}/timeline.json`;

  const told = [];
  const patience = new Patience((trouble) => told.push(trouble));
  const answers = [patience.json(url), patience.json(`${url}?other`)];
  while (told.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(asked >= 2 && told.every(Boolean));
  answering = true;
  const again = setInterval(() => patience.again(), 5); // far sooner than by itself
  assert.deepEqual(await Promise.all(answers), [{ duration_ms: 7 }, { duration_ms: 7 }]);
  clearInterval(again);
  assert.equal(told.at(-1), false);
  assert.equal(told.filter((trouble) => !trouble).length, 1, "well only when all is well");
  server.close();
});
