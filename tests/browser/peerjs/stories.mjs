// The stories of unmodified PeerJS clients. Each story is given a list of hub URLs and, as in peerpigeon's stories,
// knows nothing more about the hubs. The stories without `backstage` and without an operator also play on npm `peer`.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { check, ensure, until } from '../report.mjs';

const LINKED_WITHIN_MS = 30_000;
const BACK_WITHIN_MS = 40_000;
// Less than the default five seconds for which an offer waits for its target.
const LATE_BY_MS = 3_000;
const CROWD = 20;
const ADMIN_TOKEN = 'for-operators-alone';

const last = (hubs) => hubs[hubs.length - 1];
const name = (what) => `${what}-${randomUUID()}`;

async function online(stage, who, hub, options = {}) {
  const peer = await stage.peer(who, hub, { id: name(who.toLowerCase()), ...options });
  await check(`${who} is online`, () => peer.online());
  return peer;
}

/** A data connection from one to the other, open at both ends. */
async function link(from, to, details = {}) {
  const label = name('link');
  await check(`${from.name} connects to ${to.name}`, async () => {
    await from.ask('connect', to.id, label, details);
    await until(async () => (await from.ask('isLinked', label)) && (await to.ask('isLinked', label)));
  }, LINKED_WITHIN_MS);
  return label;
}

/** Each sends one thing of each kind; the other has exactly these, in that order. */
async function exchange(one, other, label, kinds = ['string']) {
  for (const [from, to] of [[one, other], [other, one]]) {
    await check(`${kinds.join(', ')} of ${from.name} reach ${to.name} as they were sent`, async () => {
      const wanted = JSON.stringify([...(await to.ask('received', label)), ...(await from.ask('samples', kinds))]);
      await from.ask('send', label, kinds);
      await until(async () => JSON.stringify(await to.ask('received', label)) === wanted);
    });
  }
}

const told = (peer, event) => until(async () => (await peer.ask('events')).includes(event));
const toldInWords = (peer, start) =>
  until(async () => (await peer.ask('events')).find((event) => event.startsWith(start)));

/** Data connections in the three serializations of the client, both ways, until one closes its end. */
export async function data({ stage, hubs }) {
  const ada = await online(stage, 'Ada', hubs[0]);
  const bob = await online(stage, 'Bob', last(hubs));
  const kinds = {
    binary: ['string', 'object', 'bytes'],
    json: ['string', 'object'],
    raw: ['string', 'bytes'],
  };
  for (const [serialization, things] of Object.entries(kinds)) {
    const [from, to] = serialization === 'json' ? [bob, ada] : [ada, bob];
    const metadata = { room: 'kitchen', size: 2 ** 53 };
    const label = await link(from, to, { serialization, metadata, reliable: true });
    await check(`${to.name} knows what kind of connection it is`, async () => {
      const about = JSON.stringify(await to.ask('about', label));
      ensure(about === JSON.stringify({ peer: from.id, metadata, serialization }), about);
    });
    await exchange(from, to, label, things);
    await check(`${from.name} closes it, and ${to.name} notices`, async () => {
      await from.ask('unlink', label);
      await until(() => to.ask('isUnlinked', label));
    });
  }
}

/** A call: each sees and hears the other's camera and microphone, until one hangs up. */
export async function call({ stage, hubs }) {
  const ada = await online(stage, 'Ada', hubs[0]);
  const bob = await online(stage, 'Bob', last(hubs));
  await ada.ask('call', bob.id);
  for (const peer of [ada, bob]) {
    await check(`${peer.name} sees and hears the other`, () => until(async () => {
      const { framesDecoded, samples, shown } = await peer.ask('mediaReceived');
      return framesDecoded > 10 && shown > 10 && samples > 10_000;
    }));
  }
  await check('Ada hangs up, and Bob notices', async () => {
    await ada.ask('hangUp');
    await told(bob, 'call closed');
  });
}

/** Ids that a server makes up, that are held already, that nobody has; a key that is wrong. */
export async function ids({ stage, hubs }) {
  const made = [];
  for (const who of ['Ada', 'Bob']) {
    const peer = await online(stage, who, who === 'Ada' ? hubs[0] : last(hubs), { id: undefined });
    peer.id = await peer.ask('id');
    made.push(peer);
  }
  const [ada, bob] = made;
  await check('the ids that they were given are two UUIDs', async () => {
    ensure(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(ada.id) && ada.id !== bob.id, `${ada.id} ${bob.id}`);
  });
  const label = await link(ada, bob);
  await exchange(ada, bob, label);

  const thief = await stage.peer('Thief', last(hubs), { id: ada.id });
  await check('whoever wants the id of another is told that it is taken', async () => {
    const error = await toldInWords(thief, 'error');
    ensure(error === `error unavailable-id: ID "${ada.id}" is taken`, error);
    await told(thief, 'close');
  });

  const nobody = name('nobody');
  await check('whoever connects to nobody is told that the peer is unavailable', async () => {
    await bob.ask('connect', nobody, 'nowhere');
    const error = await toldInWords(bob, 'error');
    ensure(error === `error peer-unavailable: Could not connect to peer ${nobody}`, error);
    ensure(await bob.ask('isOnline'), 'Bob was disconnected by it');
  });

  const stranger = await stage.peer('Stranger', hubs[0], { id: name('stranger'), key: 'another' });
  await check('whoever has another key is told so', async () => {
    const error = await toldInWords(stranger, 'error');
    ensure(error === 'error server-error: Invalid key provided', error);
  });
  await exchange(bob, ada, label);
}

/** Disconnected and reconnected under the same id with its links open; destroyed, and its id free for another. */
export async function comings({ stage, hubs }) {
  const ada = await online(stage, 'Ada', hubs[0]);
  const bob = await online(stage, 'Bob', last(hubs));
  const label = await link(ada, bob);
  await check('Ada disconnects from its hub', async () => {
    await ada.ask('leave');
    await told(ada, 'disconnected');
  });
  await exchange(ada, bob, label);
  await check('Ada reconnects under its id', async () => {
    await ada.ask('comeBack');
    await ada.online();
    ensure((await ada.ask('id')) === ada.id, await ada.ask('id'));
  });
  await exchange(ada, bob, await link(bob, ada));
  await exchange(ada, bob, label);

  await check('Ada is destroyed, and Bob loses the link', async () => {
    await ada.ask('destroy');
    await told(ada, 'close');
    await until(() => bob.ask('isUnlinked', label));
  });
  const cy = await online(stage, 'Cy', last(hubs), { id: ada.id });
  await exchange(bob, cy, await link(bob, cy));
}

/** A server that lists its peers. */
export async function listed({ stage, hubs }) {
  const ada = await online(stage, 'Ada', hubs[0]);
  const bob = await online(stage, 'Bob', last(hubs));
  for (const peer of [ada, bob]) {
    await check(`${peer.name} is given the ids of both`, async () => {
      await until(async () => {
        const all = await peer.ask('listAllPeers');
        return [ada.id, bob.id].every((id) => all.includes(id));
      });
    });
  }
}

/** A server that does not. */
export async function unlisted({ stage, hubs }) {
  const ada = await online(stage, 'Ada', hubs[0]);
  await check('Ada is told that the server does not list its peers', async () => {
    await ada.ask('askForPeers');
    await toldInWords(ada, 'error server-error');
    ensure(!(await ada.ask('events')).includes('listed'), 'it was given a list');
  });
}

/** An offer to an id that connects three seconds after it. */
export async function late({ stage, hubs }) {
  const ada = await online(stage, 'Ada', hubs[0]);
  const id = name('late');
  const label = name('link');
  await ada.ask('connect', id, label);
  await sleep(LATE_BY_MS);
  const bob = await online(stage, 'Bob', last(hubs), { id });
  await check('the connection that Ada asked for before Bob was there opens', () =>
    until(async () => (await ada.ask('isLinked', label)) && (await bob.ask('isLinked', label))), LINKED_WITHIN_MS);
  await exchange(ada, bob, label);
}

/** Twenty pairs at once. */
export async function crowd({ stage, hubs }) {
  const guests = Array.from({ length: CROWD }, () => name('guest'));
  const hosts = Array.from({ length: CROWD }, () => name('host'));
  const here = await stage.peer('Here', hubs[0]);
  const there = await stage.peer('There', last(hubs));
  await check(`${2 * CROWD} clients are online`, () =>
    Promise.all([here.ask('startCrowd', hubs[0], guests), there.ask('startCrowd', last(hubs), hosts)]));
  await check(`${CROWD} pairs connect at once and talk`, async () => {
    const talked = await here.ask('crowdTalksTo', hosts);
    ensure(talked === CROWD, `${talked} did`);
  }, LINKED_WITHIN_MS);
}

/** The host of a game that forty join at once, and one who invites forty at once. */
export async function party({ stage, hubs }) {
  const guests = Array.from({ length: 2 * CROWD }, () => name('guest'));
  const host = name('host');
  const here = await stage.peer('Here', hubs[0]);
  const there = await stage.peer('There', last(hubs));
  await check(`a host and ${guests.length} guests are online`, () =>
    Promise.all([here.ask('startCrowd', hubs[0], guests), there.ask('startCrowd', last(hubs), [host])]));
  await check('all guests connect to the host at once, and talk', async () => {
    const talked = await here.ask('crowdTalksTo', guests.map(() => host));
    ensure(talked === guests.length, `${talked} did`);
  }, LINKED_WITHIN_MS);
  await check('the host connects to all guests at once, and talks', async () => {
    const talked = await there.ask('crowdTalksTo', guests);
    ensure(talked === guests.length, `${talked} did`);
  }, LINKED_WITHIN_MS);
}

/** An operator removes a client: its library reports it, its links stay open, and another client may have its id. */
export async function removed({ stage, hubs }) {
  const ada = await online(stage, 'Ada', hubs[0]);
  const bob = await online(stage, 'Bob', last(hubs));
  const label = await link(ada, bob);
  await check('an operator removes Bob, at the hub of Ada', async () => {
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
    const answer = await fetch(`${hubs[0]}admin/api/peers/peerjs/peerjs/${bob.id}`, { method: 'DELETE', headers });
    ensure(answer.ok, `${answer.status} ${await answer.text()}`);
  });
  await check('the library of Bob reports it', async () => {
    const error = await toldInWords(bob, 'error');
    ensure(error === 'error server-error: removed by an operator', error);
    await told(bob, 'disconnected');
    ensure(!(await bob.ask('isOnline')), 'Bob is still connected to its hub');
  });
  await exchange(ada, bob, label);
  const cy = await online(stage, 'Cy', hubs[0], { id: bob.id });
  await exchange(ada, cy, await link(ada, cy));
}

/** Links outlive their hub; an application that reconnects when it is told to is back on the hub after it. */
export async function restart({ stage, hubs, backstage }) {
  const place = hubs.length - 1;
  const ada = await online(stage, 'Ada', hubs[0], { reconnects: true });
  const bob = await online(stage, 'Bob', hubs[place], { reconnects: true });
  const label = await link(ada, bob);
  await exchange(ada, bob, label);

  await backstage.ask('stop-hub', place);
  await check('Bob notices that its hub is gone', () => told(bob, 'disconnected'));
  await exchange(ada, bob, label);
  await backstage.ask('start-hub', place);
  await check('Ada and Bob are back under their ids', async () => {
    await Promise.all([ada.online(), bob.online()]);
    ensure((await bob.ask('id')) === bob.id, await bob.ask('id'));
  }, BACK_WITHIN_MS);

  const cy = await online(stage, 'Cy', hubs[0]);
  await exchange(cy, bob, await link(cy, bob));
  await exchange(ada, bob, label);
}
