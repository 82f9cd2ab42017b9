// Run by `node --test tests/js/`. The module reads the page's <html> once, so each language is
// its own import (the query makes it another module).
import assert from "node:assert/strict";
import test from "node:test";

/** @param {string} lang @param {Record<string, string | string[]>} [messages] */
async function load(lang, messages) {
  globalThis.document = { documentElement: { lang, dataset: { timeZone: "Asia/Ho_Chi_Minh" } } };
  globalThis.diemcauMessages = messages;
  return import(`../../static/js/i18n.js?${lang}`);
}

test("Vietnamese is the source: texts are their own translation", async () => {
  const vi = await load("vi");
  assert.equal(vi.t("Điểm cầu %(site)s", { site: "Văn Lâm" }), "Điểm cầu Văn Lâm");
  assert.equal(vi.tn("%(n)s câu hỏi", "%(n)s câu hỏi", 1703), "1.703 câu hỏi");
  assert.equal(vi.formatDateTime("2023-06-03T01:50:00Z"), "08:50 03/06/2023");
  assert.match(vi.formatLocal("2023-06-03T08:50"), /08:50.*Thứ Bảy.*03\/06\/2023/);
  assert.equal(vi.formatLocalDay("2023-06-03"), "Thứ Bảy, 03/06/2023");
  assert.equal(vi.formatDuration(6600), "1 giờ 50 phút");
  assert.equal(vi.formatDuration(3599.6), "1 giờ");
});

test("English comes from the catalogue, with plurals, and keeps dd/mm/yyyy", async () => {
  const en = await load("en", {
    "%(n)s câu hỏi": ["%(n)s question", "%(n)s questions"],
    "Điểm cầu %(site)s": "Site %(site)s",
  });
  assert.equal(en.t("Điểm cầu %(site)s", { site: "Văn Lâm" }), "Site Văn Lâm");
  assert.equal(en.tn("%(n)s câu hỏi", "%(n)s câu hỏi", 1), "1 question");
  assert.equal(en.tn("%(n)s câu hỏi", "%(n)s câu hỏi", 1703), "1,703 questions");
  assert.equal(en.formatDate("2023-06-02T17:00:00Z"), "03/06/2023");
  assert.equal(en.t("Chưa dịch"), "Chưa dịch");
});

test("slots: unknown ones stay visible, %% is a per cent sign, values are not re-read", async () => {
  const vi = await load("vi");
  assert.equal(vi.t("%(a)s %(b)s 100%%", { a: "%(b)s" }), "%(b)s %(b)s 100%");
});

test("clock and fold", async () => {
  const vi = await load("vi");
  assert.equal(vi.formatClock(125.9), "2:05");
  assert.equal(vi.formatClock(4360), "1:12:40");
  assert.equal(vi.formatClock(-3), "0:00");
  assert.equal(vi.fold("NGUYỄN Thị Đức Ưởng"), "nguyen thi duc uong");
});
