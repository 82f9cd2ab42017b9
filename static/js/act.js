// @ts-check
/** Buttons that send commands: busy while one is under way, an error said where it was refused. */

import { setBusy, toast } from "./dom.js";

/**
 * Sends a command for a control; resolves to whether it was done. The screen changes by the event,
 * never here.
 * @typedef {(control: HTMLElement, type: string, payload: Record<string, unknown>) => Promise<boolean>} Act
 */

/**
 * @param {import("./connection.js").Connection} connection
 * @returns {Act}
 */
export function actBy(connection) {
  return async (control, type, payload) => {
    setBusy(control, true);
    try {
      await connection.send(type, payload);
      return true;
    } catch (error) {
      toast(/** @type {Error} */ (error).message, { kind: "wrong" });
      return false;
    } finally {
      setBusy(control, false);
    }
  };
}
