// The stage of a story: one headless Chromium, one page for each peer, and the frames that each page exchanged with its
// hub. `close` closes everything that was opened here, also after a failure.

import { EventEmitter, once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

import { chromium } from 'playwright-core';

import { note, until } from './report.mjs';
import { Wire } from './wire.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Candidates have real addresses, also loopback addresses: peers connect without mDNS and without a network.
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--allow-loopback-in-peer-connection',
  // The names of the client's STUN servers do not resolve, so these servers fail at once.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];
const CONSOLE_LINES_KEPT = 30;

async function servePage(files) {
  const server = http.createServer(async (request, response) => {
    const [file, type] = files[request.url] ?? [];
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': type }).end(await readFile(file));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

export class Stage {
  #client;
  #pages;
  #chromium;
  #browser;
  #wires = [];
  peers = [];

  /** `client` names the files of a page, the permissions that it has and what else its browser is started with. */
  constructor(client) {
    this.#client = client;
  }

  async open() {
    this.#pages = await servePage(this.#client.files);
    this.#chromium = await chromium.launchServer({
      executablePath: CHROMIUM,
      headless: true,
      args: [...FLAGS, ...this.#client.flags],
      host: '127.0.0.1',
    });
    console.log(`browser ${this.#chromium.process().pid}`);
    this.#browser = await chromium.connect(this.#chromium.wsEndpoint());
  }

  /** Opens a page of its own profile and starts a client there. Does not wait for the hub. */
  async peer(name, hub, options = {}) {
    const context = await this.#browser.newContext({ permissions: this.#client.permissions });
    const page = await context.newPage();
    const peer = new Peer(name, page);
    this.peers.push(peer);
    await page.goto(`http://127.0.0.1:${this.#pages.address().port}/`);
    peer.id = await page.evaluate(([url, wanted]) => window.peer.start(url, wanted), [hub, options]);
    note(`${name} is ${peer.id} at ${new URL(hub).host}`);
    return peer;
  }

  /** Opens a hub's own page in a profile of its own. `before` runs in it ahead of the page's scripts. */
  async visitor(name, url, { before } = {}) {
    const context = await this.#browser.newContext({ viewport: { width: 1200, height: 900 } });
    const page = await context.newPage();
    if (before) await page.addInitScript(before);
    const visitor = new Visitor(name, page, new URL(url).host);
    this.peers.push(visitor);
    await page.goto(url);
    return visitor;
  }

  async wire(hub) {
    const wire = await Wire.to(hub);
    this.#wires.push(wire);
    return wire;
  }

  /** Prints what each peer saw; a page that no longer answers is not waited for. */
  async explain() {
    for (const peer of this.peers) await Promise.race([peer.explain(), sleep(1_000)]);
  }

  async close() {
    await this.#browser?.close().catch(() => {});
    await this.#chromium?.kill();
    for (const wire of this.#wires) wire.close();
    this.#pages?.closeAllConnections();
    this.#pages?.close();
  }
}

/** One page with one client. `frames` holds what crossed its WebSockets, in order, as exact text. */
export class Peer {
  #page;
  #arrivals = new EventEmitter();
  #console = [];
  frames = [];

  constructor(name, page) {
    this.name = name;
    this.#page = page;
    this.#arrivals.setMaxListeners(0);
    page.on('websocket', (socket) => {
      socket.on('framesent', ({ payload }) => this.#keep('client->server', payload));
      socket.on('framereceived', ({ payload }) => this.#keep('server->client', payload));
    });
    page.on('console', (message) => this.#console.push(message.text()));
    page.on('pageerror', (error) => this.#console.push(`uncaught: ${error.message}`));
  }

  #keep(dir, text) {
    const frame = { dir, text: String(text) };
    this.frames.push(frame);
    this.#arrivals.emit('frame');
  }

  /** What the hub sent, parsed. */
  get received() {
    return this.frames.filter(({ dir }) => dir === 'server->client').map(({ text }) => JSON.parse(text));
  }

  /** The first message from the hub that satisfies `wanted`, which may have arrived already. */
  async message(wanted) {
    for (;;) {
      const found = this.received.find(wanted);
      if (found) return found;
      await once(this.#arrivals, 'frame');
    }
  }

  ask(question, ...details) {
    return this.#page.evaluate(([name, args]) => window.peer[name](...args), [question, details]);
  }

  online() {
    return until(() => this.ask('isOnline'));
  }

  offline() {
    return until(async () => !(await this.ask('isOnline')));
  }

  discovers(other) {
    return until(() => this.ask('hasDiscovered', other.id));
  }

  async hasChannelTo(other) {
    return (await this.ask('openChannels')).includes(other.id);
  }

  /** Mesh goodbye and a closed socket, as an application's own "leave" does. */
  leave() {
    return this.ask('leave');
  }

  /** What a user does who closes the tab: the page's unload handlers run. */
  async closeTab() {
    const closed = this.#page.waitForEvent('close');
    await this.#page.close({ runBeforeUnload: true });
    await closed;
  }

  /** The page's process dies: no handler runs, no goodbye is sent. */
  async crash() {
    const crashed = this.#page.waitForEvent('crash');
    this.#page.goto('chrome://crash').catch(() => {});
    await crashed;
  }

  async explain() {
    note(`--- ${this.name} ${this.id ?? '(never started)'}`);
    for (const [line, times] of runs(this.frames.map(({ dir, text }) => `${dir} ${summary(text)}`))) {
      note(times > 1 ? `${line} (${times} times)` : line);
    }
    for (const line of this.#console.slice(-CONSOLE_LINES_KEPT)) note(`console: ${line.slice(0, 200)}`);
    if (!this.#page.isClosed()) {
      const status = await this.ask('status').catch((error) => error.message);
      note(`channels: ${JSON.stringify(status)}`);
    }
  }
}

/** Somebody who looks at the page of the hub at `host`. */
class Visitor {
  errors = [];
  foreign = [];

  constructor(name, page, host) {
    this.name = name;
    this.page = page;
    page.on('console', (message) => message.type() === 'error' && this.errors.push(message.text()));
    page.on('pageerror', (error) => this.errors.push(`uncaught: ${error.message}`));
    page.on('request', (request) => new URL(request.url()).host === host || this.foreign.push(request.url()));
  }

  async explain() {
    note(`--- ${this.name}`);
    for (const line of this.errors) note(`console: ${line.slice(0, 300)}`);
    if (!this.page.isClosed()) note(await this.page.locator('body').innerText());
  }
}

/** Equal neighbours counted: `a a b` becomes `[a, 2] [b, 1]`. */
function runs(lines) {
  const counted = [];
  for (const line of lines) {
    const last = counted.at(-1);
    if (last?.[0] === line) last[1] += 1;
    else counted.push([line, 1]);
  }
  return counted;
}

function summary(text) {
  try {
    const { type, fromPeerId, targetPeerId, networkName, error, data, src, dst, payload } = JSON.parse(text);
    const about = data?.peerId ?? data?.reason ?? payload?.msg ?? payload?.connectionId ?? '';
    return JSON.stringify({ type, fromPeerId, targetPeerId, networkName, error, src, dst, about });
  } catch {
    return `not JSON: ${text.slice(0, 200)}`;
  }
}
