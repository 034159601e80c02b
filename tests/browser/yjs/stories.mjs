// The stories of unmodified y-webrtc clients. Each story is given a list of hub URLs. Each document is in a separate
// browser profile, so that no BroadcastChannel can replace the hubs.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';

import { check, ensure, until } from '../report.mjs';

const LINKED_WITHIN_MS = 45_000;
const BACK_WITHIN_MS = 40_000;

const path = (hub) => `${hub}/yjs`;
const announced = ({ type, clients }) => type === 'publish' && clients > 0;

/** Hubs that are not linked yet keep their clients apart. */
async function linked(hubs) {
  await check('the hubs are linked', () => Promise.all(hubs.map((hub) => until(async () => {
    const stats = await fetch(`${hub.replace('ws:', 'http:')}/stats`);
    return (await stats.json()).hubs === hubs.length - 1;
  }))));
}

/** Opens a document and waits until its own announcement came back: the hub knows that it is there. */
async function open(stage, name, hub, options) {
  const peer = await stage.peer(name, path(hub), options);
  await check(`${name} hears its own announcement`, () => peer.message(announced));
  return peer;
}

/** Everybody writes something; everybody ends up with all of it. */
async function write(peers, withinMs = LINKED_WITHIN_MS) {
  const words = peers.map(({ name }) => `${name} ${randomUUID()}`);
  await Promise.all(peers.map((peer, at) => peer.ask('write', `${words[at]}\n`)));
  await check(`${peers.map(({ name }) => name).join(', ')} have what each of them wrote`, () =>
    Promise.all(peers.map((peer) => until(async () => {
      const text = await peer.ask('text');
      return words.every((word) => text.includes(word));
    }))), withinMs);
}

/** Two documents meet, then three. */
async function share({ stage, hubs }, options) {
  const last = hubs[hubs.length - 1];
  await linked(hubs);
  const ada = await open(stage, 'Ada', hubs[0], options);
  const bob = await open(stage, 'Bob', last, options);
  await write([ada, bob]);
  const cy = await open(stage, 'Cy', hubs[0], options);
  await write([ada, bob, cy]);
  for (const peer of [ada, bob, cy]) {
    ensure((await peer.ask('links')) > 0, `${peer.name} has no WebRTC connection`);
  }
  return [ada, bob, cy];
}

export async function plain(scene) {
  await share(scene, { room: randomUUID() });
}

export async function secret(scene) {
  const peers = await share(scene, { room: randomUUID(), password: randomUUID() });
  await check('the hubs saw nothing but encrypted payloads', async () => {
    const published = peers.flatMap(({ received }) => received).filter(({ type }) => type === 'publish');
    ensure(published.length > 0, 'nothing was published');
    ensure(published.every(({ data }) => typeof data === 'string'), 'a payload could be read');
  });
}

/** One address that leads to whichever hub lives, as a balancer does. */
async function balanced(hubs) {
  const front = net.createServer((client) => {
    const forward = ([hub, ...rest]) => {
      if (!hub) return client.destroy();
      const { hostname, port } = new URL(hub);
      const server = net.connect(port, hostname);
      server.once('error', () => forward(rest));
      server.once('connect', () => {
        for (const [from, to] of [[client, server], [server, client]]) {
          from.on('error', () => to.destroy());
          from.on('close', () => to.destroy());
          from.pipe(to);
        }
      });
    };
    forward(hubs);
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  front.unref();
  return `ws://127.0.0.1:${front.address().port}`;
}

/** The hub that two documents met on dies; they go on, come back to the other, and a third one finds them there. */
export async function survivors({ stage, hubs, backstage }) {
  const options = { room: randomUUID() };
  await linked(hubs);
  const front = await balanced(hubs);
  const ada = await open(stage, 'Ada', front, options);
  const bob = await open(stage, 'Bob', front, options);
  await write([ada, bob]);
  const before = [ada, bob].map(({ received }) => received.length);
  await backstage.ask('stop-hub', 0);
  await write([ada, bob]);
  await check('both are heard by the other hub', () =>
    Promise.all([ada, bob].map((peer, at) => until(() => peer.received.slice(before[at]).some(announced)))), BACK_WITHIN_MS);
  const cy = await open(stage, 'Cy', hubs[1], options);
  await write([ada, bob, cy]);
}

/** The only hub is restarted; its clients come back to it, and a newcomer finds them. */
export async function restart({ stage, hubs, backstage }) {
  const options = { room: randomUUID() };
  const ada = await open(stage, 'Ada', hubs[0], options);
  await backstage.ask('stop-hub', 0);
  await check('Ada is offline', () => ada.offline());
  await backstage.ask('start-hub', 0);
  await check('Ada is back', () => ada.online(), BACK_WITHIN_MS);
  const bob = await open(stage, 'Bob', hubs[0], options);
  await write([ada, bob]);
}
