// The equipment of the conformance checks: one server or two of the same mesh, clients on either, and unique names. The
// lab closes everything that a check opened.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';

import { Client } from './client.mjs';

export class Lab {
  #clients = [];

  /** `at.here` and `at.there` are base URLs, the same one when there is but one server. */
  constructor(at, settings) {
    this.at = at;
    this.settings = settings;
    this.isReference = false;
  }

  name(what = 'peer') {
    return `${what}-${randomUUID()}`;
  }

  /** Connects with a raw query. */
  dial(query, { at = 'here', ...manner } = {}) {
    const client = new Client(this.at[at], query, manner);
    this.#clients.push(client);
    return client;
  }

  /** Connects as a client does and does not wait for what comes of it. */
  start({ id = this.name(), token = this.name('token'), key = this.settings.key, ...rest } = {}) {
    const client = this.dial(new URLSearchParams({ key, id, token, version: '1.5.5' }), rest);
    return Object.assign(client, { id, token });
  }

  /** A client that the server has taken in. */
  async peer(options) {
    const client = this.start(options);
    await client.message(({ type }) => type === 'OPEN');
    return client;
  }

  /** One on each server. */
  pair() {
    return Promise.all([this.peer({ at: 'here' }), this.peer({ at: 'there' })]);
  }

  /** A client that the other server knows of. */
  async known() {
    const [known, witness] = await this.pair();
    await this.mark(witness, known);
    return known;
  }

  /** A second connection with the id and the token of one that is there; the reference says nothing to it. */
  async takeOver(first) {
    const second = this.start({ at: 'there', id: first.id, token: first.token });
    await (this.isReference ? second.opened() : second.message(({ type }) => type === 'OPEN'));
    return second;
  }

  /** Carries a message from one to the other: all that came before it has arrived when it has. */
  async mark(from, to) {
    const mark = this.name('mark');
    from.send({ type: 'OFFER', dst: to.id, payload: { mark } });
    await to.message(({ payload }) => payload?.mark === mark);
    return ({ payload }) => payload?.mark !== mark;
  }

  async get(path, { at = 'here', headers = {} } = {}) {
    const response = await fetch(new URL(path, this.at[at]), { headers });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  /** Sends this head as it stands, and reads that of the answer: its status and its fields, in lower case. */
  async ask(method, path, headers, { version = '1.1' } = {}) {
    const { hostname, port, host, pathname, search } = new URL(path, this.at.here);
    const socket = connect(Number(port), hostname);
    const fields = Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`${method} ${pathname}${search} HTTP/${version}\r\n${fields.join('')}\r\n`);
    let text = '';
    while (!text.includes('\r\n\r\n')) text += (await once(socket, 'data'))[0].toString('latin1');
    socket.destroy();
    const [first, ...lines] = text.split('\r\n\r\n')[0].split('\r\n');
    const pairs = lines.map((line) => [line.split(':')[0].toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]);
    return { status: Number(first.split(' ')[1]), headers: new Headers(pairs) };
  }

  /** Asks for a WebSocket with these headers beside those that it takes. */
  askForSocket(headers, options) {
    const query = new URLSearchParams({ key: this.settings.key, id: this.name(), token: this.name('token') });
    const upgrade = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': 13,
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    };
    return this.ask('GET', `peerjs?${query}`, { ...upgrade, ...headers }, options);
  }

  /** Waits until the server takes no connection any more. */
  async refusesNewcomers() {
    for (;;) {
      const newcomer = this.start();
      await newcomer.settled();
      if (newcomer.texts.length === 0) return;
      newcomer.terminate();
    }
  }

  close() {
    for (const client of this.#clients) client.terminate();
  }
}

/** A message as a reader would note it down: `OFFER from a`, `ERROR "Invalid key provided"`. */
export function noted({ type, src, payload }) {
  const words = payload?.msg ?? payload?.message;
  return [type, src && `from ${src}`, words && `"${words}"`].filter(Boolean).join(' ');
}
