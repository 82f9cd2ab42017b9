// @ts-check
/** The button by which somebody hears the conference on this page; pressed while it is to be heard. */

import { keep, kept } from "../kept.js";

const LISTENS = "listens";

export class Listening {
  /**
   * @param {HTMLElement} button
   * @param {import("../media/receive.js").Receiver} receiver
   */
  constructor(button, receiver) {
    this.button = button;
    this.receiver = receiver;
    button.addEventListener("click", () => {
      if (receiver.soundBlocked) return receiver.unblockSound();
      keep(LISTENS, !receiver.soundOn);
      receiver.setSound(!receiver.soundOn);
    });
    // After a reload some browsers want a gesture once more: any will do, the button's is its own.
    for (const gesture of ["click", "keydown"]) {
      addEventListener(gesture, ({ target }) => {
        if (receiver.soundBlocked && !button.contains(/** @type {Node} */ (target))) receiver.unblockSound();
      });
    }
  }

  /** As it was before a reload. */
  start() {
    this.receiver.setSound(kept(LISTENS) === true);
  }

  /** Follow the receiver. */
  render() {
    const { soundOn, soundBlocked } = this.receiver;
    this.button.setAttribute("aria-pressed", String(soundOn && !soundBlocked));
  }
}
