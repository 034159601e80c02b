// A TCP proxy between a browser and its hub. It can cut its connections or leave them hanging, which a page cannot do
// to its own socket.

import { once } from 'node:events';
import net from 'node:net';

export class Wire {
  #server;
  #pairs = new Set();
  #open = true;
  #target;

  static async to(hub) {
    const wire = new Wire();
    wire.#target = new URL(hub);
    wire.#server = net.createServer((near) => wire.#join(near));
    wire.#server.listen(0, '127.0.0.1');
    await once(wire.#server, 'listening');
    return wire;
  }

  /** The hub's URL with this wire's address in place of the hub's. */
  get url() {
    const url = new URL(this.#target);
    url.port = String(this.#server.address().port);
    return url.href;
  }

  get connections() {
    return this.#pairs.size;
  }

  #join(near) {
    if (!this.#open) {
      near.destroy();
      return;
    }
    const far = net.connect(Number(this.#target.port), this.#target.hostname);
    const pair = { near, far, hanging: false };
    this.#pairs.add(pair);
    near.on('data', (bytes) => pair.hanging || far.write(bytes));
    far.on('data', (bytes) => pair.hanging || near.write(bytes));
    for (const [one, other] of [[near, far], [far, near]]) {
      one.on('error', () => {});
      one.on('close', () => pair.hanging || this.#drop(pair, other));
    }
  }

  #drop(pair, other) {
    this.#pairs.delete(pair);
    other.destroy();
  }

  /** Cuts both ends of what is connected now: the hub and the browser both see it. */
  cut() {
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  /** Cuts the browser's end only: the hub keeps a socket on which nothing ever answers again. */
  leaveHanging() {
    for (const pair of this.#pairs) {
      pair.hanging = true;
      pair.near.resetAndDestroy();
    }
  }

  close() {
    this.#open = false;
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
    this.#pairs.clear();
    this.#server.close();
  }
}
