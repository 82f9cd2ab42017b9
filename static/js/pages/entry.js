// @ts-check
/** The pages on which one comes in: forms, which work without this. */

import { showSending } from "../sent.js";

showSending("form");
