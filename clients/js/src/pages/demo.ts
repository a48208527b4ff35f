// What the pages of the server use of this package. `npm run pages` builds it into synckairos/http/static/demo/sdk.js.
// The tests compare its readings and expected starts, which the elements show, with the vectors.
export { expectedStartsMs } from "../clock/plan.js";
export { readGroup, readParticipant, readSession } from "../clock/readings.js";
export { connect } from "../client.js";
export { SessionDeleted } from "../errors.js";
export { setDefaultClient } from "../elements/index.js";
export { fillText, setElementTexts } from "../elements/texts.js";
