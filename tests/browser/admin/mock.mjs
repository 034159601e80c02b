// node admin/mock.mjs [PORT [EVENTS_PER_SECOND]]
//
// A simulated mesh for the operator's page: a hundred hubs in seven regions, ten thousand networks, and a stream of events.
// Stories use it for meshes of that size and for long lists, and developers use it to look at the page. It serves web/dist
// with the policy that hubs send, and answers as docs/admin.md says, with invented numbers that change all the time.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = fileURLToPath(new URL('../../../web/dist/', import.meta.url));
const POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const REGIONS = ['ams', 'fra', 'gru', 'iad', 'nrt', 'sin', 'syd'];
const DIALECTS = ['pigeon', 'peerjs', 'rooms', 'coordinator', 'yjs'];
const STEP_MS = 10_000;

/** The same numbers in each run (mulberry32). */
function dice(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const hex = (roll) => Array.from({ length: 40 }, () => Math.floor(16 * roll()).toString(16)).join('');

export class MockHub {
  /** The rows of `/admin/api/waiting` and of `/admin/api/contests`, in any order. A story may replace them at any time. */
  waiting;
  contests = [];
  /** The hubs that those two name in `notAnswered`. */
  silent = [];
  #roll = dice(7);
  #began = Date.now();
  #bans = [];
  #readers = new Set();
  #timer;
  #events = 0;
  #server = http.createServer((request, response) => void this.#answer(request, response));

  constructor({ hubs = 100, networks = 10_000, eventsPerSecond = 200 } = {}) {
    this.hubs = Array.from({ length: hubs }, (_, number) => this.#hub(number));
    this.links = this.#links();
    this.networks = Array.from({ length: networks }, (_, number) => ({
      dialect: DIALECTS[number % DIALECTS.length],
      network: `${['game', 'doc', 'call', 'lobby'][number % 4]}-${String(number).padStart(5, '0')}`,
      peers: 1 + Math.floor(9 * this.#roll()),
    }));
    this.waiting = this.#targets();
    this.#timer = setInterval(() => this.#happen(eventsPerSecond / 10), 100);
  }

  async listen(port = 0) {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${this.#server.address().port}/admin`;
  }

  close() {
    clearInterval(this.#timer);
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #hub(number) {
    return {
      id: hex(this.#roll),
      self: number === 0,
      url: null,
      region: REGIONS[number % REGIONS.length],
      hops: number ? 1 + Math.floor(3 * this.#roll()) : 0,
      rttMs: number ? 1 + 180 * this.#roll() : null,
      peers: Math.floor(1_000 * this.#roll()),
      draining: number === 41,
      pace: 50 + 400 * this.#roll(),
    };
  }

  /** Each hub has two links in its region and one to a random hub: about as many links as hubs choose by themselves. */
  #links() {
    const all = new Map();
    const link = (one, other) => {
      if (!one || !other || one === other) return;
      const [a, b] = [one.id, other.id].sort();
      all.set(`${a} ${b}`, { a, b, rttMs: one.region === other.region ? 1 + Math.floor(9 * this.#roll()) : 20 + Math.floor(200 * this.#roll()) });
    };
    this.hubs.forEach((hub, number) => {
      for (const step of [REGIONS.length, 2 * REGIONS.length]) link(hub, this.hubs[number + step]);
      link(hub, this.hubs[Math.floor(this.#roll() * this.hubs.length)]);
    });
    return [...all.values()];
  }

  /** Signals wait at eight of nine hubs. */
  #targets() {
    const rows = this.hubs.map(({ id }, number) => ({ dialect: 'pigeon', network: 'global', id: `target of ${id.slice(0, 8)}`, hub: id, sinceMs: this.#began, count: number % 9 }));
    return rows.filter(({ count }) => count > 0);
  }

  #happen(many) {
    for (let left = many; left > 0; left--) {
      const { dialect, network } = this.#pick(this.networks);
      const hub = this.#pick(this.hubs);
      const type = this.#pick(['join', 'join', 'leave', 'leave', 'refusal']);
      const peer = hex(this.#roll);
      hub.peers = Math.max(0, hub.peers + (type === 'join' ? 1 : -1));
      const data = { at: Date.now(), hub: hub.id, dialect, network, peer, reason: type === 'join' ? undefined : 'goodbye', address: null };
      this.#events += 1;
      const text = `id: ${this.#events}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
      for (const reader of this.#readers) reader.write(text);
    }
  }

  #pick(list) {
    return list[Math.floor(this.#roll() * list.length)];
  }

  async #answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, 'http://mock');
    if (!pathname.startsWith('/admin/api/')) return this.#file(pathname, response);
    const [, , , name, ...rest] = pathname.split('/').map(decodeURIComponent);
    if (name === 'events') return this.#listener(response);
    const body = await this.#body(request);
    const answer = this[`${request.method} ${name}`]?.(searchParams, { body, rest });
    const value = answer ?? { error: 'there is nothing at this path' };
    response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  }

  async #file(pathname, response) {
    const name = pathname === '/admin' ? 'admin.html' : path.posix.normalize(pathname).slice(1);
    const body = await readFile(path.join(DIST, name)).catch(() => null);
    const type = TYPES[path.extname(name)] ?? 'application/octet-stream';
    response.writeHead(body ? 200 : 404, { 'content-type': type, 'content-security-policy': POLICY }).end(body);
  }

  async #body(request) {
    let text = '';
    for await (const part of request) text += part;
    return text ? JSON.parse(text) : null;
  }

  #listener(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`event: hello\ndata: ${JSON.stringify({ at: Date.now(), hub: this.hubs[0].id })}\n\n`);
    this.#readers.add(response);
    response.on('close', () => this.#readers.delete(response));
  }

  /** A page begins behind `after`, whether that row is still there or not. */
  #page(list, keyOf, asked) {
    const after = asked.get('after');
    const limit = Number(asked.get('limit') ?? 100);
    const sorted = list.map((row) => [keyOf(row), row]).sort(([one], [other]) => (one < other ? -1 : 1));
    const rest = sorted.filter(([own]) => after === null || own > after);
    const shown = rest.slice(0, limit);
    return { shown: shown.map(([, row]) => row), next: limit < rest.length ? shown.at(-1)[0] : null, total: list.length };
  }

  #awaited(name, asked) {
    const rows = this[name];
    const { shown, next, total: ids } = this.#page(rows, awaitedKey, asked);
    const hubs = this.hubs.filter(({ id }) => !this.silent.includes(id)).map(({ id }) => ({ hub: id, [name]: count(rows, id) }));
    return { hubs, [name]: shown, notAnswered: this.silent, next, ids, total: rows.reduce((sum, { count }) => sum + count, 0) };
  }

  'GET session'() {
    return { access: 'full', with: 'listener', login: false, hub: this.hubs[0].id };
  }

  'GET topology'() {
    const uptimeMs = Date.now() - this.#began + 3_600_000;
    const hubs = this.hubs.map(({ pace, ...hub }, number) => ({
      ...hub,
      condition: number === 13 ? null : {
        version: '0.1.0',
        uptimeMs: uptimeMs + number * 61_000,
        connections: hub.peers,
        maxConnections: 1_000,
        messages: Math.floor((pace * uptimeMs) / 1_000),
        cpuMs: Math.floor((pace * uptimeMs) / 2_000),
        memoryBytes: 40_000_000 + hub.peers * 9_000,
        openFiles: hub.peers + 40,
        clockAheadMs: number === 77 ? 2_300 : Math.floor(9 * this.#roll()) - 4,
        waiting: count(this.waiting, hub.id),
        contests: count(this.contests, hub.id),
        alarms: number === 21 ? 3 : 0,
      },
    }));
    return { timestamp: new Date().toISOString(), hub: this.hubs[0].id, hubs, links: this.links, notAnswered: [this.hubs[13]?.id].filter(Boolean) };
  }

  'GET networks'(asked) {
    const [part, dialect] = [asked.get('network') ?? '', asked.get('dialect') ?? ''];
    const found = this.networks.filter((one) => one.network.includes(part) && (!dialect || one.dialect === dialect));
    const { shown, ...page } = this.#page(found, key, asked);
    return { networks: shown, ...page };
  }

  'GET peers'(asked) {
    const [network, dialect] = [asked.get('network'), asked.get('dialect')];
    const found = this.networks.find((one) => one.network === network && one.dialect === dialect);
    const roll = dice(network.length + (found?.peers ?? 0));
    const peers = Array.from({ length: found?.peers ?? 0 }, (_, number) => ({
      id: hex(roll),
      hub: this.hubs[number % this.hubs.length].id,
      sinceMs: this.#began - 60_000 * number,
      address: `203.0.113.${number + 1}`,
      subject: number % 2 ? 'ada' : null,
    }));
    return { dialect, network, peers, notAnswered: [], next: null, total: peers.length };
  }

  'GET history'() {
    const roll = dice(3);
    const last = Math.floor(Date.now() / STEP_MS) * STEP_MS;
    const t = Array.from({ length: 360 }, (_, at) => last - (359 - at) * STEP_MS);
    const wave = (height, length) => t.map((_, at) => Math.floor(height * (1.2 + Math.sin(at / length) + 0.3 * roll())));
    const refusals = { 'full': wave(4, 30), 'id-taken': wave(9, 50), 'address-too-fast': wave(3, 20), 'banned': wave(1, 80) };
    return { stepMs: STEP_MS, hubs: this.hubs.map(({ id }) => id), notAnswered: [], t, joins: wave(900, 40), leaves: wave(880, 42), signals: wave(9_000, 35), failures: wave(20, 25), refusals };
  }

  'GET waiting'(asked) {
    return this.#awaited('waiting', asked);
  }

  'GET contests'(asked) {
    return this.#awaited('contests', asked);
  }

  'GET bans'() {
    return { bans: this.#bans, next: null, total: this.#bans.length, max: 1_000 };
  }

  'POST bans'(_, { body: { seconds, reason = null, dialect = null, network = null, ...who } }) {
    const [kind, value] = Object.entries(who)[0];
    const placedAt = Date.now();
    const ban = { ban: hex(this.#roll), kind, value, dialect, network, reason, placedAt, until: placedAt + 1_000 * seconds, placedBy: this.hubs[0].id };
    this.#bans.push(ban);
    return { ban, closed: 1 };
  }

  'DELETE bans'(_, { rest: [wanted] }) {
    const lifted = this.#bans.find(({ ban }) => ban === wanted);
    this.#bans = this.#bans.filter((ban) => ban !== lifted);
    return lifted && { lifted };
  }

  'DELETE peers'() {
    return { removed: true, hub: this.hubs[0].id };
  }
}

const key = ({ dialect, network }) => `${dialect}/${network}`;
const awaitedKey = ({ dialect, network, id, hub }) => `${dialect}/${network}/${id}/${hub}`;

/** How many signals or joins of these rows are at this hub. */
const count = (rows, hub) => rows.reduce((sum, row) => sum + (row.hub === hub ? row.count : 0), 0);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port, eventsPerSecond] = process.argv.slice(2).map(Number);
  console.log(await new MockHub({ eventsPerSecond }).listen(port));
}
