// Run by `node --test tests/js/`. What the media modules decide from numbers and names alone.
import assert from "node:assert/strict";
import test from "node:test";

globalThis.document = {
  documentElement: { lang: "vi", dataset: {} },
  addEventListener() {},
};
globalThis.ResizeObserver = /** @type {any} */ (class {});
// Pages watch for sleep all their life; this process may end.
const { setInterval } = globalThis;
globalThis.addEventListener = () => {};
globalThis.setInterval = /** @type {any} */ ((/** @type {any[]} */ ...given) =>
  setInterval(...given).unref());
const { between, LineWatch, qualityText, reportBetween, totals } = await import(
  "../../static/js/media/quality.js"
);
const { mediaPlace, unreachableText } = await import("../../static/js/media/reach.js");
const { Freezes } = await import("../../static/js/media/freezes.js");
const { Publisher } = await import("../../static/js/media/publish.js");
const { Receiver } = await import("../../static/js/media/receive.js");
const { LinesPanel, lineRows } = await import("../../static/js/rooms/lines.js");
const { lineFigures, publishText, publishTrouble, uplinkLevel } = await import("../../static/js/rooms/uplink.js");
const { offeringRepeats } = await import("../../static/js/media/codecs.js");
const { loudness } = await import("../../static/js/media/meter.js");
const { byGivenName, rosterRows } = await import("../../static/js/rooms/roster.js");
const { floorText, ownFloor } = await import("../../static/js/rooms/floor.js");
const { isHeardNow, sends, sourceText, stageText } = await import(
  "../../static/js/rooms/stage.js"
);
const { countdown, optionRows, siteRows } = await import("../../static/js/rooms/quiz-board.js");

/** @param {Record<string, number>} changed */
const sum = (changed) => ({
  at_ms: 0, packets: 0, lost: 0, freezes: 0, line_freezes: 0, rtt_ms: 20, fraction_lost: 0, ...changed,
});

test("a line's quality follows loss, delay, freezes and silence", () => {
  const start = sum({});
  const level = (/** @type {any} */ end, silent_ms = 0) =>
    between(start, sum({ at_ms: 2000, ...end }), silent_ms).level;
  assert.equal(level({ packets: 1000 }), 4);
  assert.equal(level({ packets: 970, lost: 30 }), 3);
  assert.equal(level({ packets: 1000, freezes: 1 }), 4, "the processor may be full");
  assert.equal(level({ packets: 1000, freezes: 1, line_freezes: 1 }), 2);
  assert.equal(level({ packets: 800, lost: 200 }), 1);
  assert.equal(level({ packets: 1000, fraction_lost: 0.06 }), 2);
  assert.equal(level({ packets: 1000, rtt_ms: 700 }), 2);
  assert.equal(level({}, 3000), 0);
  assert.equal(qualityText(0), "Mất tín hiệu");
});

test("what is sent while the path is lost is no sign of a line", async (/** @type {any} */ { mock }) => {
  mock.timers.enable({ apis: ["setInterval"] });
  let now_ms = 0, packets = 0;
  mock.method(performance, "now", () => now_ms);
  const connection = {
    connectionState: "connected",
    getStats: async () => new Map([["a", { type: "outbound-rtp", packetsSent: (packets += 10) }]]),
  };
  /** @type {number[]} */
  const levels = [];
  const watch = new LineWatch(/** @type {any} */ (connection), () => null, (line) => levels.push(line.level), () => {});
  const seconds = async (/** @type {number} */ count) => {
    for (let i = 0; i < count; i += 1) {
      now_ms += 1000;
      mock.timers.tick(1000);
      await new Promise(setImmediate);
    }
  };
  await seconds(3);
  connection.connectionState = "disconnected";
  await seconds(3);
  assert.deepEqual(levels, [4, 4, 4, 4, 4, 0]);
  connection.connectionState = "connected";
  await seconds(1);
  assert.equal(levels.at(-1), 4);
  watch.stop();
});

test("a report's streams are added up, of candidate pairs only the nominated counts", () => {
  const report = new Map([
    ["a", { type: "inbound-rtp", packetsReceived: 2, packetsLost: 1 }],
    ["b", { type: "inbound-rtp", packetsReceived: 1, packetsLost: -1 }],
    ["c", { type: "candidate-pair", nominated: true, currentRoundTripTime: 0.03 }],
    ["d", { type: "candidate-pair", nominated: false, currentRoundTripTime: 3 }],
  ]);
  assert.deepEqual(totals(report, 7), {
    at_ms: 7, packets: 3, lost: 1, rtt_ms: 30, fraction_lost: 0, limited: "none",
  });
});

test("what pauses because another source, or none, is shown is no freeze of the line", () => {
  /** @type {Record<string, string | null>} */
  const shown = { stage: "site:a", wall0: "site:b" };
  const freezes = new Freezes((mid) => shown[mid] ?? null);
  let now_ms = 0;
  /** @param {number} stage how often the browser saw it freeze @param {number} wall */
  const second = (stage, wall) => {
    now_ms += 1000;
    const slot = (/** @type {string} */ mid, /** @type {number} */ count) =>
      [mid, { type: "inbound-rtp", mid, freezeCount: count, totalFreezesDuration: count / 2 }];
    const report = new Map(/** @type {any} */ ([slot("stage", stage), slot("wall0", wall),
      ["audio0", { type: "inbound-rtp", mid: "audio0" }]]));
    const told = freezes.add(/** @type {any} */ (report), now_ms);
    assert.equal(told.frozen_ms, told.freezes * 500);
    return told.freezes;
  };
  assert.equal(second(1, 0), 0, "the first pictures come when they come");
  assert.equal(second(1, 0), 0);
  assert.equal(second(2, 0), 1, "in a slot that has long shown the same it is one");
  shown.stage = "site:c";
  assert.equal(second(3, 1), 2, "a cut is none, while another slot's is one");
  assert.equal(second(4, 1), 2);
  assert.equal(second(5, 1), 3);
  shown.wall0 = null; // its camera is off
  assert.equal(second(5, 1), 3);
  assert.equal(second(5, 1), 3);
  assert.equal(second(5, 2), 3);
  shown.wall0 = "site:b";
  assert.equal(second(5, 3), 3);
  assert.equal(second(5, 3), 3);
  assert.equal(second(5, 4), 4);
  assert.equal(second(6, 5), 5, "pictures that stand together stand once");
});

test("the line is blamed for what stands while packets are lost, and for nothing else", () => {
  const freezes = new Freezes(() => "site:a");
  let now_ms = 0;
  /** @param {number} freezeCount @param {number} packetsLost */
  const blamed = (freezeCount, packetsLost) => {
    now_ms += 2500;
    const entry = { type: "inbound-rtp", mid: "stage", freezeCount, packetsLost };
    return freezes.add(/** @type {any} */ (new Map([["a", entry]])), now_ms).line_freezes;
  };
  blamed(0, 0);
  assert.equal(blamed(1, 0), 0);
  assert.equal(blamed(1, 7), 0);
  assert.equal(blamed(2, 7), 1, "it is counted when it ends");
  assert.equal(blamed(3, 7), 1);
});

test("the server is told what happened since the last report, within its bounds", () => {
  const before = sum({ at_ms: 0, freezes: 3, line_freezes: 1, frozen_ms: 1000, packets: 10, limited: "none" });
  const after = sum({ at_ms: 10_000, freezes: 5, line_freezes: 2, frozen_ms: 91_000.4, packets: 100, lost: 10,
    rtt_ms: 90_000, limited: "cpu" });
  assert.deepEqual(reportBetween(before, after), {
    rtt_ms: 60_000, loss: 0.1, freezes: 2, frozen_ms: 60_000, line_freezes: 1,
    limited: "cpu",
  });
});

test("a page that was cut off for sending too much says why, and tries again", () => {
  const options = { send: async () => {}, onChange() {}, capture: async () => {}, source: "camera" };
  const camera = new Publisher(/** @type {any} */ (options));
  camera.session = "s";
  camera.handleLive("media_closed", { session: "another", reason: "excess" });
  assert.equal(camera.state, "idle");
  camera.handleLive("media_closed", { session: "s", reason: "excess" });
  assert.equal(camera.state, "retrying");
  assert.match(camera.message, /gửi lên quá nhiều/);
  camera.stop();
});

test("nobody reads that picture and sound are being sent while nothing arrives", () => {
  const stream = { getVideoTracks: () => [{}], getAudioTracks: () => [{}] };
  const line = { level: 4, loss: 0, rtt_ms: 20 };
  const camera = { state: "live", muted: { audio: false, video: false }, stream, line };
  /** @param {any} changed */
  const text = (changed) => publishText(/** @type {any} */ ({ ...camera, ...changed }));
  assert.equal(text({}), "Đang gửi hình và tiếng");
  assert.equal(text({ line: { ...line, level: 0 } }), "Đang kết nối hình…");
  assert.equal(text({ line: { ...line, level: 0 }, muted: { audio: true, video: true } }), "Đã tắt cả hình và tiếng");
  const measured = { bitrate_bps: 1_230_000, loss: 0.06 };
  assert.equal(lineFigures(/** @type {any} */ (line), measured), "1.200\u00a0kbit/s\u00a0· mất\u00a0gói\u00a06%\u00a0· trễ\u00a020\u00a0ms");
  assert.equal(lineFigures(/** @type {any} */ (line), undefined), "", "a browser counts what fills the line");
  assert.equal(lineFigures(/** @type {any} */ ({ ...line, level: 0 }), measured), "");
});

test("an uplink that makes the picture smaller, or loses what is sent again, is not called good", () => {
  const line = /** @type {any} */ ({ level: 4, loss: 0, rtt_ms: 20 });
  const measured = { bitrate_bps: 300_000, loss: 0 };
  assert.equal(uplinkLevel(line, false, measured), 4);
  assert.equal(uplinkLevel(line, true, measured), 2);
  assert.equal(uplinkLevel(line, false, { ...measured, loss: 0.06 }), 2);
  assert.equal(uplinkLevel({ ...line, level: 0 }, true, measured), 0);
});

test("where the media port is blocked, its numbers and addresses are told", () => {
  const sdp = [
    "v=0", "a=candidate:1 1 udp 2130706431 10.0.0.5 7001 typ host", "a=candidate:2 1 udp 2130706430 2001:db8::5 7001 typ host",
    "a=candidate:3 1 tcp 1671430143 10.0.0.5 7001 typ host tcptype passive", "",
  ].join("\r\n");
  assert.deepEqual(mediaPlace(sdp), { addresses: ["10.0.0.5", "2001:db8::5"], ports: ["7001"] });
  assert.equal(mediaPlace("v=0\r\n"), null);
  assert.match(unreachableText(/** @type {any} */ (mediaPlace(sdp))), /mở cổng 7001 tới 10\.0\.0\.5, 2001:db8::5: UDP/);
});

test("whose place was taken reads when nobody sends there any more", () => {
  const camera = /** @type {any} */ ({ state: "taken_over" });
  assert.match(publishTrouble(camera, true) ?? "", /^Trang khác hoặc bộ mã hoá đang gửi/);
  assert.match(publishTrouble(camera, false) ?? "", /^Không còn nơi nào gửi/);
});

test("a picture that the line keeps small is tried to be made larger now and then", async () => {
  const sent = { encodings: [
    { rid: "q", maxBitrate: 150_000 },
    { rid: "h", maxBitrate: 500_000, active: true },
    { rid: "f", maxBitrate: 1_500_000, active: false },
  ] };
  const limits = [];
  const sender = {
    getParameters: () => structuredClone(sent),
    setParameters: async (/** @type {any} */ parameters) => {
      Object.assign(sent, parameters);
      limits.push(parameters.encodings.map((/** @type {any} */ each) => each.maxBitrate));
    },
  };
  const options = { send: async () => {}, onChange() {}, capture: async () => {} };
  const camera = new Publisher(/** @type {any} */ ({ ...options, source: "camera" }));
  camera.connection = /** @type {any} */ ({
    getTransceivers: () => [{ receiver: { track: { kind: "video" } }, sender }],
  });
  const seconds = async (/** @type {number} */ count, /** @type {string} */ limited) => {
    for (let i = 0; i < count; i += 1) camera.onLine(/** @type {any} */ ({ level: 4, limited }));
    await new Promise((resolve) => setTimeout(resolve));
  };
  await seconds(10, "none");
  await seconds(10, "cpu");
  assert.deepEqual(limits, []);
  await seconds(2, "bandwidth");
  await seconds(1, "none");
  await seconds(2, "bandwidth");
  assert.deepEqual(limits, []);
  await seconds(5, "bandwidth");
  assert.deepEqual(limits, [[150_000, 499_000, 1_500_000], [150_000, 500_000, 1_500_000]]);
});

test("a page looks for the server before it mends a line that is silent", () => {
  /** @type {string[]} */
  const did = [];
  const options = { send: async () => {}, onChange() {}, onSilence: () => did.push("looks") };
  const receiver = new Receiver(/** @type {any} */ (options));
  receiver.restart = async () => void did.push("mends");
  const fall = (/** @type {number} */ silent_ms) => receiver.onLine(/** @type {any} */ ({ level: 4, silent_ms }));
  for (const silent_ms of [0, 1000, 2000, 3000]) fall(silent_ms);
  assert.deepEqual(did, [], "nothing is expected to come");
  receiver.slots = { stage: "site:hue" };
  for (const silent_ms of [0, 1000, 2000, 3000]) fall(silent_ms);
  assert.deepEqual(did, ["looks", "mends"]);
});

test("lines are told in words: the worst of each way, and why", () => {
  const operator = { since: "2023-06-03T01:12:30Z", until: null };
  const display = { since: "2023-06-02T07:00:00Z", until: "2023-06-02T09:40:00Z" };
  const sites = { 7: { id: 7, name: "Huế", position: 0, kind: "remote", operator, display } };
  const now = Date.parse("2023-06-03T02:00:00Z");
  const line = { site: 7, way: "down", what: "room", bitrate_bps: 400_000, loss: 0, rtt_ms: 40,
    height_px: 180, worth_px: 720, carries_bps: 612_000, reason: "delay", silent: false, reduced: true,
    limited: "none", freezes: 0, frozen_ms: 0, line_freezes: 0 };
  const up = { ...line, way: "up", what: "camera", height_px: 720, reduced: false, loss: 0.04 };
  const [row] = lineRows(sites, [line, up, { ...line, what: "display", reduced: false }], now);
  assert.equal(row.name, "Huế");
  assert.equal(row.up, "Camera: đường lên mất 4% gói");
  assert.equal(row.down, "Trang kỹ thuật: hình đã giảm, đường truyền chỉ tải được 610 kbit/s");
  assert.equal(row.upFigures, "400 kbit/s · mất gói 4% · trễ 40 ms · 720p");
  assert.equal(lineRows(sites, [{ ...line, bitrate_bps: 72 }], now)[0].downFigures.split(" · ")[0], "0 kbit/s");
  assert.equal(row.upLevel, 3);
  assert.equal(row.downLevel, 2);
  const [dead] = lineRows(sites, [{ ...up, silent: true }, { ...line, silent: true }], now);
  assert.equal(dead.up, "Camera: mất đường truyền, máy chủ không nhận được gì");
  assert.equal(dead.down, "Trang kỹ thuật: mất đường truyền, không nhận được gì");
  assert.deepEqual([dead.upLevel, dead.upFigures, dead.downLevel], [0, "", 0]);
  const [greedy] = lineRows(sites, [{ ...up, reason: "excess" }, line], now);
  assert.match(greedy.up, /^Camera: gửi quá nhiều nên bị bỏ bớt/);
  assert.equal(greedy.upLevel, 1);
  assert.match(lineRows(sites, [{ ...up, reason: "excess", silent: true }], now)[0].up, /đã bị ngắt vì/);
  const stands = { ...line, reduced: false, freezes: 20, line_freezes: 19, frozen_ms: 9000 };
  assert.equal(lineRows(sites, [{ ...stands, frozen_ms: 900 }], now)[0].downLevel, 2);
  assert.equal(lineRows(sites, [stands], now)[0].downLevel, 1);
  assert.equal(lineRows(sites, [stands], now)[0].down, "Trang kỹ thuật: hình đứng 19 lần trong một phút qua");
  const [machine] = lineRows(sites, [{ ...stands, line_freezes: 0, frozen_ms: 2100 }], now);
  assert.match(machine.down, /đứng 20 lần trong một phút qua, không do đường truyền này/);
  assert.equal(machine.downLevel, 3);
  const [small] = lineRows(sites, [{ ...line, reduced: false, freezes: 1, frozen_ms: 300 }], now);
  assert.deepEqual([small.down, small.downLevel], ["Trang kỹ thuật: tốt, nơi gửi chỉ gửi hình nhỏ", 4]);
  const gone = "Màn hình phòng: vắng từ 16:40 02/06/2023";
  assert.equal(row.presence, `Trang kỹ thuật: từ 08:12 · ${gone}`);
  const counts = { [row.id]: { operator: 1, display: 0, trainee: 1320, sound: null } };
  assert.equal(lineRows(sites, [], now, counts)[0].presence, `${row.presence} · Điện thoại đang nối: 1.320`);
  assert.match(lineRows(sites, [], now, {})[0].presence, /· Điện thoại đang nối: 0$/);
  const [silent] = lineRows(sites, [], null);
  assert.equal(silent.presence, "");
  assert.equal(silent.up, "Không gửi hình và tiếng");
  assert.equal(silent.down, "Không nhận hình");
});

test("what a list of lines says is told to be of before once nobody answers", async (context) => {
  let now_ms = 1000;
  let asked = 0;
  context.mock.timers.enable({ apis: ["setInterval"] });
  context.mock.method(performance, "now", () => now_ms);
  let rects = [{}];
  const classes = new Set();
  const classList = {
    toggle: (/** @type {string} */ name, /** @type {boolean} */ on) => on ? classes.add(name) : classes.delete(name),
  };
  const list = { parentElement: { getClientRects: () => rects }, children: [{}], classList };
  const old = { hidden: true };
  const connection = { online: true, send: () => new Promise(() => void (asked += 1)) };
  const panel = new LinesPanel(.../** @type {[any, any, any, any]} */ ([list, old, connection, () => ({})]));
  const later = (/** @type {number} */ ms) => {
    now_ms += ms;
    void panel.show();
  };
  later(0);
  later(3000);
  assert.ok(old.hidden);
  later(3000);
  assert.ok(!old.hidden);
  assert.ok(classes.has("old"), "its bars are green no more");
  assert.equal(asked, 1, "and is asked once, not with every beat");
  rects = [];
  later(3000);
  rects = [{}];
  later(30_000);
  assert.ok(old.hidden, "who looks again waits for the answer first");
});

test("loudness is 0 in silence, 1 at full scale, and even in decibels between", () => {
  assert.equal(loudness(new Float32Array(64)), 0);
  assert.equal(loudness(new Float32Array(64).fill(1)), 1);
  assert.ok(Math.abs(loudness(new Float32Array(64).fill(0.0316)) - 0.5) < 0.01); // −30 dB
});

/** @returns {any} two rooms, the seat in Văn Lâm */
const state = () => ({
  conference: { state: "live", stage: "site:van-lam", presentation: null },
  me: { site: 1 },
  sites: {
    1: { id: 1, slug: "van-lam", name: "Điểm cầu huyện Văn Lâm", position: 1, present: 4, floor_since: null, muted: false },
    2: { id: 2, slug: "an-thi", name: "Điểm cầu huyện Ân Thi", position: 0, present: 9, floor_since: null, muted: false },
  },
  requests: {},
  attendance: { 7: { person: 7, site: 1, checked_in_at: "2023-06-03T01:30:00Z", evidence: "qr" } },
  roster: {
    5: { person: 5, name: "Nguyễn Văn Ước", unit: "Xã Đại Đồng", post: "", code: "0005" },
    7: { person: 7, name: "Đỗ Thị Ánh", unit: "Xã Lạc Đạo", post: "Văn phòng", code: "0007" },
    6: { person: 6, name: "Lê Văn An", unit: "Xã Lạc Đạo", post: "", code: "0006" },
  },
  live: {},
});

test("a roster is searched without diacritics and ordered by given name", () => {
  const names = (/** @type {string} */ query, /** @type {any} */ which = "all") =>
    rosterRows(state(), query, which).map((row) => row.name);
  assert.deepEqual(names(""), ["Lê Văn An", "Đỗ Thị Ánh", "Nguyễn Văn Ước"]);
  assert.deepEqual(names("do thi"), ["Đỗ Thị Ánh"]);
  assert.deepEqual(names("lac dao"), ["Lê Văn An", "Đỗ Thị Ánh"]);
  assert.deepEqual(names("0005"), ["Nguyễn Văn Ước"]);
  assert.deepEqual(names("", "present"), ["Đỗ Thị Ánh"]);
  assert.deepEqual(names("", "absent"), ["Lê Văn An", "Nguyễn Văn Ước"]);
  assert.match(rosterRows(state(), "anh", "all")[0].checked, /^08:30 · quét mã$/);
  assert.ok(byGivenName("Trần Văn Bình", "Nguyễn Thị Cúc") < 0);
});

test("a room knows how it stands to the floor", () => {
  const now = state();
  assert.equal(ownFloor(now), "silent");
  now.requests = {
    2: { id: 2, site: 1, reason: "", requested_at: "2023-06-03T01:31:00Z" },
    1: { id: 1, site: 2, reason: "", requested_at: "2023-06-03T01:30:00Z" },
  };
  assert.equal(ownFloor(now), "waiting");
  assert.match(floorText(now).about, /^Thứ 2 .* 08:31$/);
  now.sites[1].floor_since = "2023-06-03T01:32:00Z";
  assert.equal(floorText(now).title, "Điểm cầu này đang phát biểu");
  now.live.publications = { "site:van-lam": { audio: true, alive: true, heard: false } };
  assert.equal(ownFloor(now), "unheard", "its own microphone is off");
  now.live.publications["site:van-lam"].heard = true;
  assert.equal(ownFloor(now), "speaking");
  now.sites[1].muted = true;
  assert.equal(ownFloor(now), "muted");
  now.conference.state = "paused";
  assert.equal(ownFloor(now), "held");
  assert.equal(floorText(now).title, "Hội nghị tạm nghỉ");
  now.sites[1].floor_since = null;
  now.sites[2].floor_since = "2023-06-03T01:32:00Z";
  now.requests = {};
  assert.equal(floorText(now).about, "Hội nghị tạm nghỉ");
  now.conference.state = "ended";
  assert.equal(ownFloor(now), "over");
  assert.doesNotMatch(floorText(now).about, /Bản ghi/, "none was made");
});

test("a source has its site's name; what it sends is what the server says", () => {
  const now = state();
  assert.equal(sourceText(now, "site:an-thi"), "Điểm cầu huyện Ân Thi");
  assert.equal(sourceText(now, "site:an-thi:screen"), "Trình chiếu · Điểm cầu huyện Ân Thi");
  assert.equal(sourceText(now, null), "");
  assert.equal(sends(now, "site:an-thi", "picture"), true); // nothing is known yet
  now.live.speaking = ["site:an-thi"];
  assert.equal(isHeardNow(now, "site:an-thi"), true);
  assert.equal(stageText(now, "site:an-thi"), "Điểm cầu huyện Ân Thi", "it is seen");
  assert.match(stageText(now, "site:van-lam"), / · đang nói: Điểm cầu huyện Ân Thi$/);
  now.me.site = 2;
  assert.equal(stageText(now, "site:van-lam"), "Điểm cầu huyện Văn Lâm", "the own room is not heard here");
  now.me.site = 1;
  now.conference.state = "ended";
  assert.equal(isHeardNow(now, "site:an-thi"), false);
  now.conference.state = "live";
  const dark = { video: "H264", audio: true, alive: true, picture: false };
  now.live.publications = { "site:an-thi": dark };
  assert.equal(sends(now, "site:an-thi", "picture"), false);
  assert.equal(sends(now, "site:an-thi", "sound"), true);
  assert.equal(sends(now, "site:van-lam", "sound"), false); // nobody publishes it
  assert.equal(sends(now, null, "picture"), false);
});

test("a quiz counts down by the given clock, then shows options and sites", () => {
  const run = {
    run: 1, item: 3, state: "open", options: ["a", "b"], chart: null, correct: null,
    opened_at: "2023-06-03T01:30:00Z", deadline_at: "2023-06-03T01:30:20Z",
  };
  const at = (/** @type {number} */ s) => countdown(run, Date.parse(run.opened_at) + s * 1000);
  assert.deepEqual(at(5), { open: true, left: "0:15", share: 0.75, last: false });
  assert.equal(at(16).last, true);
  assert.equal(at(99).left, "0:00");
  const closed = { ...run, state: "closed", chart: { 1: [3, 1], 2: [0, 4] }, correct: null };
  assert.deepEqual(optionRows(closed).map((row) => row.figure), ["3 · 38%", "5 · 63%"]);
  assert.deepEqual(siteRows(state(), closed).map((row) => row.figure), ["4 / 9", "4 / 4"]);
  const revealed = { ...closed, correct: 1 };
  assert.deepEqual(siteRows(state(), revealed).map((row) => row.figure), ["100%", "25%"]);
  const silent = { ...closed, chart: { 1: [3, 1] } };
  assert.deepEqual(
    siteRows(state(), silent).map((row) => [row.name, row.figure]),
    [["Điểm cầu huyện Ân Thi", "0 / 9"], ["Điểm cầu huyện Văn Lâm", "4 / 4"]],
  );
  assert.deepEqual(siteRows(state(), run), []);
  assert.deepEqual(optionRows(revealed).map((row) => row.correct), [false, true]);
});

test("an offer says that sound is repeated when asked for, and is else as it was", () => {
  const lines = [
    "a=rtpmap:63 red/48000/2", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:102 H264/90000",
  ];
  const offered = offeringRepeats(lines.join("\r\n") + "\r\n")?.split("\r\n") ?? [];
  assert.deepEqual(offered.filter((line) => !lines.includes(line)), ["a=rtcp-fb:111 nack", ""]);
  assert.equal(offered[2], "a=rtcp-fb:111 nack");
  assert.equal(offeringRepeats(undefined), undefined);
});
