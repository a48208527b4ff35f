// A page with the developer panel of a client that watches one session.
import { mountDevtools } from "../../../src/devtools/index.js";
import { connect } from "../../../src/index.js";

const parameters = new URLSearchParams(location.search);
const client = connect(parameters.get("server") ?? "", { token: "a token that stays secret" });
const remove = mountDevtools(client);
const watch = client.watch(parameters.get("session") ?? "");
Object.assign(window, { watch, remove });
