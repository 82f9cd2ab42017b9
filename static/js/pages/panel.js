// @ts-check
/** Speaker and advisor: the questions given to me, my time left, the stage. */

import { actBy } from "../act.js";
import { connect, readBoot } from "../connection.js";
import { byId, find, on, renderList, setBanner } from "../dom.js";
import { formatTime, t } from "../i18n.js";
import { drafts, keepDrafts } from "../kept.js";
import { Receiver } from "../media/receive.js";
import { nextItem, timeLeft, timeLeftText } from "../rooms/agenda.js";
import { hasMedia, isOpen, isOver, showLife } from "../rooms/conference.js";
import { showUnreachable } from "../rooms/downlink.js";
import { Listening } from "../rooms/listening.js";
import { stageTile } from "../rooms/live-stage.js";
import { siteName } from "../rooms/questions.js";
import { emptyStageText, sends } from "../rooms/stage.js";

/** @typedef {import("../state.js").Entity} Entity */

const connection = connect({
  ...readBoot(),
  onChange: render,
  onLive: ({ type, data }) => receiver.handleLive(type, data),
  onStatus: (online, refusal) => {
    const lost = t("Chưa nối được với máy chủ. Đang tự nối lại; thao tác của bạn được giữ lại và gửi khi nối được.");
    setBanner("connection-banner", online ? null : (refusal?.message ?? lost));
    if (online) receiver.resume();
  },
});
const receiver = new Receiver({
  send: (type, payload) => connection.send(type, payload),
  onChange: renderStage,
  isOnline: () => connection.online,
  onSilence: () => void connection.doubt(),
  sends: (source, kind) => sends(connection.state, source, kind),
});

const stage = stageTile(byId("stage"), receiver);
const listening = new Listening(byId("listen"), receiver);
const act = actBy(connection);
/** answers that were being written before a reload */
const written = drafts();

function render() {
  const { state } = connection;
  showLife(byId("life"), state.conference.state);
  const me = state.me.appointment;
  const questions = Object.values(state.questions).sort((a, b) => a.id - b.id);
  const waiting = questions.filter((q) => ["approved", "on_stage"].includes(q.state));
  show("mine", waiting.filter((q) => q.appointment === me || q.state === "on_stage"));
  show("others", waiting.filter((q) => q.appointment !== me && q.state !== "on_stage"));
  show("done", questions.filter((q) => q.state === "answered").reverse());
  renderItem();
  const wanted = hasMedia(state) && !connection.refusal;
  byId("listen").hidden = !wanted;
  // Either draws the stage by itself.
  if (wanted && receiver.state === "idle") receiver.start();
  else if (!wanted && receiver.state !== "idle") receiver.stop();
  else renderStage();
}

/**
 * @param {string} list
 * @param {Entity[]} questions
 */
function show(list, questions) {
  renderList(byId(list), "question-template", questions, (q) => q.id, (q, element) => {
    const box = `answer-${q.id}`;
    if (!element.dataset.id) find(element, "textarea", HTMLTextAreaElement).value = written[box] ?? "";
    element.dataset.id = String(q.id);
    return {
      site: siteName(connection.state, q.site),
      when: formatTime(q.asked_at),
      text: q.text,
      answer: q.answer ?? "",
      by: q.answered_by ? `— ${q.answered_by}` : "",
      now: q.state === "on_stage",
      answered: q.state === "answered",
      open: q.state !== "answered" && isOpen(connection.state),
      box,
    };
  });
}

function renderItem() {
  const { state } = connection;
  const item = state.agenda[String(state.conference.item)];
  const ended = isOver(state);
  const next = ended ? null : nextItem(state);
  byId("item-title").textContent = item?.title ?? (ended ? t("Hội nghị đã kết thúc") : t("Chưa bắt đầu mục nào"));
  byId("item-left").textContent = item ? timeLeftText(item, connection.now()) : "";
  byId("item-share", HTMLProgressElement).value = item ? timeLeft(item, connection.now()).share : 0;
  byId("item-next").textContent = next ? t("Tiếp theo: %(title)s", { title: next.title }) : "";
}

function renderStage() {
  listening.render();
  showUnreachable("media-banner", [receiver]);
  stage.render(connection.state, emptyStageText(connection.state));
}

on(document, "submit", "[data-answer-form]", async (form, event) => {
  event.preventDefault();
  const box = find(form, "textarea", HTMLTextAreaElement);
  const question = Number(form.closest("[data-id]")?.getAttribute("data-id"));
  await act(find(form, "[type=submit]"), "question.answer", { question, text: box.value.trim() });
});
on(document, "click", "[data-finish]", (button) => {
  const question = Number(button.closest("[data-id]")?.getAttribute("data-id"));
  act(button, "question.finish", { question });
});
listening.start();
render();
keepDrafts("form:not([hidden]) textarea");
setInterval(renderItem, 1000);
