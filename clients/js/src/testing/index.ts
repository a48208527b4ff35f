// A fake server and a fake device for tests of pages that use the client.
export { FakeDevice } from "./fake-device.js";
export { FakeServer } from "./fake-server.js";
