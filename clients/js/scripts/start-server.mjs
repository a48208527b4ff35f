// Starts a server of this repository. SYNCKAIROS_PYTHON names another Python than .venv/bin/python of the repository.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../../", import.meta.url));

/**
 * Start `synckairos` with these arguments and variables, and wait until it is ready. Returns its URL, its output until
 * then, and a function that stops it.
 */
export async function startServer(args, env = {}) {
  const python = process.env.SYNCKAIROS_PYTHON ?? join(repository, ".venv/bin/python");
  const child = spawn(python, ["-m", "synckairos", ...args], {
    cwd: repository,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PYTHONPATH: repository, PYTHONUNBUFFERED: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  let output = "";
  const url = await new Promise((resolve, reject) => {
    const read = (chunk) => {
      output += chunk.toString();
      const ready = output.match(/^SYNCKAIROS_READY (.+)$/m);
      if (ready) resolve(JSON.parse(ready[1]).http);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`the server ended with code ${code}:\n${output}`)));
  });
  const stop = async (signal = "SIGTERM") => {
    child.kill(signal);
    await ended;
  };
  return { url, output, stop };
}
