// What the demo page of the server uses of this package. `npm run pages` builds it into synckairos/http/static/demo/sdk.js.
export { readGroup, readParticipant, readSession } from "../clock/readings.js";
export { connect } from "../client.js";
export { SessionDeleted } from "../errors.js";
export { setDefaultClient } from "../elements/index.js";
