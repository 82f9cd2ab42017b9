// @ts-check
/** The form by which a question is asked. */

import { byId, setBusy, toast } from "../dom.js";
import { t } from "../i18n.js";
import { clearSent } from "../kept.js";

/**
 * @param {import("../connection.js").Connection} connection
 * @param {import("../act.js").Act} act
 */
export function wireAsking(connection, act) {
  const box = byId("ask-text", HTMLTextAreaElement);
  const button = byId("ask-button");

  /** @param {string} text */
  function asked(text) {
    clearSent(box, text);
    toast(t("Đã gửi câu hỏi."), { kind: "good" });
  }

  byId("ask-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = box.value.trim();
    if (text && (await act(button, "question.ask", { text }))) asked(text);
  });

  connection.outbox.onLeft(({ again, told }) => {
    // The same question is not asked a second time while it is being sent again.
    const sent = again.filter((each) => each.type === "question.ask");
    if (sent.length) setBusy(button, true);
    for (const { payload, answer } of sent) {
      const text = String(payload.text);
      answer.then(() => asked(text), () => (box.value ||= text));
    }
    Promise.allSettled(sent.map((each) => each.answer)).then(() => setBusy(button, false));
    // One that is too old to be sent without a word is there to be sent by a hand.
    for (const { payload } of told) box.value ||= String(payload.text ?? "");
  });
}
