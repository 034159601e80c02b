// node flow.mjs [--record] FIXTURE PATH HUB_URL…
//
// Plays a published flow of messages with the `ws` package. Each line of the fixture is one step, and each client uses
// the next hub. A hub's messages are compared with those of the fixture, except for times. With --record, the script
// writes the hubs' messages into the fixture instead. Prints `ok …` and `not ok …` lines and exits non-zero when a
// check failed.

import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';

import WebSocket from 'ws';

import { CheckFailed, check, ensure, note, until } from './report.mjs';

const TIMES = ['timestamp', 'createdAt', 'lastActivity', 'connectedAt', 'lastHeartbeat'];
const WITHIN_MS = 20_000;

const words = process.argv.slice(2);
const recording = words[0] === '--record' && Boolean(words.shift());
const [fixture, path, ...hubs] = words;
if (hubs.length === 0) {
  console.error('usage: node flow.mjs [--record] FIXTURE PATH HUB_URL…');
  process.exit(64);
}

/** One client: what it was told and has not been asked for yet waits here. */
class Client {
  #told = [];

  constructor(url) {
    this.socket = new WebSocket(url);
    this.socket.on('message', (text) => this.#told.push(String(text)));
  }

  async open() {
    await once(this.socket, 'open');
  }

  next() {
    return until(() => this.#told.shift());
  }

  async close() {
    this.socket.close();
    await once(this.socket, 'close');
  }
}

const timeless = (text) => JSON.parse(text, (name, value) => (TIMES.includes(name) ? undefined : value));

async function networks(hub) {
  const url = new URL('/metrics', hub.replace(/^ws/, 'http'));
  return (await (await fetch(url)).json()).peers.networks;
}

/** What one hub was told of, the others hear of a little later. */
async function agreed() {
  await until(async () => {
    const [first, ...others] = await Promise.all(hubs.map(networks));
    return others.every((other) => isDeepStrictEqual(other, first));
  });
}

const clients = new Map();

async function client(peer) {
  if (!clients.has(peer)) {
    const hub = hubs[clients.size % hubs.length];
    const fresh = new Client(new URL(path, hub));
    clients.set(peer, fresh);
    await fresh.open();
  }
  return clients.get(peer);
}

async function play(step) {
  const { peer, dir, text } = step;
  const speaker = await client(peer);
  if (dir === 'client->server') return speaker.socket.send(text);
  if (dir === 'close') return speaker.close();
  const told = await speaker.next();
  if (recording) step.text = told;
  else ensure(isDeepStrictEqual(timeless(told), timeless(text)), `${peer} was told ${told}, and not ${text}`);
  return agreed();
}

const steps = (await readFile(fixture, 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line));
let failed = false;
try {
  for (const [number, step] of steps.entries()) {
    const what = step.dir === 'close' ? 'close' : JSON.parse(step.text || 'null')?.type;
    await check(`${number + 1} ${step.peer} ${step.dir} ${what}`, () => play(step), WITHIN_MS);
  }
  if (recording) await writeFile(fixture, steps.map((step) => `${JSON.stringify(step)}\n`).join(''));
} catch (error) {
  failed = true;
  note(error instanceof CheckFailed ? `failed: ${error.message}` : error.stack);
}
process.exit(failed ? 1 : 0);
