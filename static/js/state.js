// @ts-check
/**
 * The reducer that live pages and replays share; `server/state.py` is its twin, and tests hold the
 * two equal. No DOM, no network.
 */

import { EFFECTS } from "./protocol.js";

/** @typedef {Record<string, any>} Entity one object: a site, a question, the conference … */
/** @typedef {Record<string, Entity>} Collection objects by their ids, as strings */
/**
 * What a page knows. Snapshots hold every collection, possibly empty.
 * @typedef {{
 *   conference: Entity, me: Entity, live: Record<string, any>, sites: Collection,
 *   agenda: Collection, requests: Collection, appointments: Collection, roster: Collection,
 *   attendance: Collection, questions: Collection, activities: Collection, keys: Collection,
 *   runs: Collection, responses: Collection, sent: Collection, admissions: Collection,
 * }} State
 */

/**
 * The state after an event. The given one is left as it is; unchanged parts are shared, so `===`
 * tells what changed. An unknown event, or one that asks for a fresh snapshot, changes nothing.
 * @param {State} state
 * @param {string} type
 * @param {Entity} data
 * @returns {State}
 */
export function apply(state, type, data) {
  const effect = Object.hasOwn(EFFECTS, type) ? EFFECTS[type] : {};
  /** @type {Record<string, any>} */
  const parts = state;
  if (effect.merge !== undefined && effect.key === undefined) {
    return { ...state, [effect.merge]: { ...parts[effect.merge], ...data } };
  }
  if (effect.merge !== undefined && effect.key !== undefined) {
    const key = String(data[effect.key]);
    const collection = parts[effect.merge] ?? {};
    return { ...state, [effect.merge]: { ...collection, [key]: { ...collection[key], ...data } } };
  }
  if (effect.remove !== undefined && effect.key !== undefined) {
    const { [String(data[effect.key])]: _removed, ...kept } = parts[effect.remove] ?? {};
    return { ...state, [effect.remove]: kept };
  }
  return state;
}
