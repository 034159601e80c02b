// A PeerJS client reduced to its wire: one WebSocket, the exact text of all messages received, and the way in which the
// connection ended. The client sends heartbeats as the real client does, unless it is told to be silent.

import { EventEmitter, once } from 'node:events';

import WebSocket from 'ws';

const HEARTBEAT_EVERY_MS = 500;

export class Client {
  #socket;
  #arrivals = new EventEmitter();
  #heartbeat;
  texts = [];
  closedWith = null;

  /** `query` is what follows the `?`, as it is sent; `pongs: false` leaves the server's pings unanswered. */
  constructor(base, query, { heartbeats = true, pongs = true } = {}) {
    const url = new URL(`peerjs?${query}`, base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    this.#arrivals.setMaxListeners(0);
    this.#socket = new WebSocket(url, { autoPong: pongs, perMessageDeflate: false });
    this.#socket.on('message', (data) => this.#happened(() => this.texts.push(data.toString())));
    this.#socket.on('unexpected-response', (request, { statusCode }) => {
      this.#happened(() => { this.closedWith ??= `HTTP ${statusCode}`; });
      request.destroy();
    });
    this.#socket.on('error', (error) => this.#happened(() => { this.closedWith ??= error.message; }));
    this.#socket.on('close', (code) => this.#happened(() => { this.closedWith ??= code; }));
    this.#socket.once('open', () => {
      if (!heartbeats) return;
      this.#heartbeat = setInterval(() => this.send({ type: 'HEARTBEAT' }), HEARTBEAT_EVERY_MS);
    });
  }

  #happened(change) {
    change();
    if (this.closedWith !== null) clearInterval(this.#heartbeat);
    this.#arrivals.emit('change');
  }

  get messages() {
    return this.texts.map((text) => JSON.parse(text));
  }

  /** Waits for `question` to hold for what came so far. Bounded by the check that asks. */
  async #until(question) {
    for (;;) {
      const answer = question();
      if (answer) return answer;
      await once(this.#arrivals, 'change');
    }
  }

  /** The exact text of the first message that satisfies `wanted`, which may have come already. */
  async text(wanted) {
    return this.#until(() => this.texts.find((text) => wanted(JSON.parse(text))));
  }

  async message(wanted) {
    return JSON.parse(await this.text(wanted));
  }

  /** Waits for the end of the connection and returns its close code, or what kept it from opening. */
  async closed() {
    return this.#until(() => this.closedWith);
  }

  /** Waits until the server took it in, refused it or let the socket open without a word. */
  async settled() {
    return this.#until(() => this.texts.length > 0 || this.closedWith !== null);
  }

  /** Sends text as it stands, bytes as a binary message, and anything else as JSON. */
  send(message) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const ready = typeof message === 'string' || Buffer.isBuffer(message);
    this.#socket.send(ready ? message : JSON.stringify(message));
  }

  /** Both at once: the bytes of several messages leave in one go. */
  sendAll(...messages) {
    for (const message of messages) this.send(message);
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** The WebSocket is open, whether or not the server said a word. */
  async opened() {
    if (!this.isOpen) await once(this.#socket, 'open');
  }

  close() {
    clearInterval(this.#heartbeat);
    this.#socket.close();
  }

  terminate() {
    clearInterval(this.#heartbeat);
    this.#socket.terminate();
  }
}
