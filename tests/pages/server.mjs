// A server of our own: the real program on a data directory that nobody keeps, stopped at the end.

import { spawn } from "node:child_process";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export async function freePort() {
  const probe = createServer();
  await new Promise((ready) => probe.listen(0, "127.0.0.1", ready));
  const { port } = probe.address();
  await new Promise((closed) => probe.close(closed));
  return port;
}

export class Server {
  // `config` is the text of its config.toml.
  static async start(program, config = "") {
    const home = await mkdtemp(join(tmpdir(), "agentwright-pages-"));
    await mkdir(join(home, "notes"));
    await writeFile(join(home, "notes/a.txt"), "a\n");
    await writeFile(join(home, "notes/b.txt"), "b\n");
    const server = new Server(program, home, await freePort());
    if (config) {
      await mkdir(server.data, { mode: 0o700 });
      await writeFile(join(server.data, "config.toml"), config, { mode: 0o600 });
    }
    await server.up();
    return server;
  }

  constructor(program, home, port) {
    Object.assign(this, { program, home, port, data: join(home, "data"), base: `http://127.0.0.1:${port}/` });
  }

  environment() {
    return { PATH: process.env.PATH, HOME: this.home, LANG: "C.UTF-8", TZ: "UTC", AGENTWRIGHT_DATA: this.data };
  }

  // Starts it; answers the address with a one-time code that it prints.
  async up() {
    this.child = spawn(this.program, ["up", "--port", String(this.port)], {
      env: this.environment(), cwd: this.home, stdio: ["ignore", "pipe", "pipe"],
    });
    this.said = "";
    const printed = new Promise((resolve, reject) => {
      const hear = (bytes) => {
        this.said += bytes;
        const url = /http:\/\/\S*login\?code=\S+/.exec(this.said);
        if (url) resolve(url[0]);
      };
      this.child.stdout.on("data", hear);
      this.child.stderr.on("data", hear);
      this.child.on("exit", (code) => reject(new Error(`the server ended with ${code}:\n${this.said}`)));
      setTimeout(() => reject(new Error(`no address to log in within 60 s:\n${this.said}`)), 60_000).unref();
    });
    this.login = await printed;
    this.child.removeAllListeners("exit");
  }

  // Ends it as a crash would.
  async kill() {
    const ended = new Promise((done) => this.child.once("exit", done));
    this.child.kill("SIGKILL");
    await ended;
  }

  async end() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = new Promise((done) => this.child.once("exit", done));
      this.child.kill("SIGTERM");
      const late = setTimeout(() => this.child.kill("SIGKILL"), 15_000);
      await ended;
      clearTimeout(late);
    }
    await rm(this.home, { recursive: true, force: true });
  }
}

// A model that writes what it is told to, when it is told to: speaks the streamed form of OpenAI's chat.
export class SlowModel {
  static async start() {
    const model = new SlowModel();
    model.asked = new Promise((asked) => {
      model.http = createHttpServer((request, response) => {
        request.resume();
        if (request.method !== "POST") return response.writeHead(404).end();
        response.writeHead(200, { "content-type": "text/event-stream" });
        model.answer = response;
        asked();
      });
    });
    await new Promise((ready) => model.http.listen(0, "127.0.0.1", ready));
    model.url = `http://127.0.0.1:${model.http.address().port}/v1`;
    return model;
  }

  write(content) {
    const chunk = { id: "x", object: "chat.completion.chunk", created: 1, model: "slow", choices: [{ index: 0, delta: { content } }] };
    this.answer.write(`data: ${JSON.stringify(chunk)}\n\n`);
  }

  end() {
    this.http.closeAllConnections();
    this.http.close();
  }
}
