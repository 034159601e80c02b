// The stories of unmodified peerpigeon clients. Each story is given a list of hub URLs and knows nothing more about the
// hubs, so the same story plays on one hub and across several. `backstage` does what a browser cannot do (restart a
// hub).

import { randomBytes, randomUUID } from 'node:crypto';

import { check, ensure, until } from '../report.mjs';

// The client offers again every 4 s while it has fewer than three connections, and drops a half-open connection after
// 45 s. If two clients offer at the same moment, their connection can stay half-open. The next try can end in the
// same way.
const FULL_MESH_WITHIN_MS = 120_000;
// The client first retries after 3 s and 9 s when it has open channels, and after 1 s and 3 s when it has none. An
// abnormal close skips the first retry.
const BACK_WITHIN_MS = 40_000;
// A hub reports a closed socket at once.
const LEAVE_SEEN_WITHIN_MS = 5_500;

const pairs = (peers) => peers.flatMap((one, at) => peers.slice(at + 1).map((other) => [one, other]));
const others = (peers, one) => peers.filter((peer) => peer !== one);

async function meet(peers, withinMs = FULL_MESH_WITHIN_MS) {
  const names = peers.map(({ name }) => name).join(', ');
  await check(`${names} discover each other`, () =>
    Promise.all(pairs(peers).flatMap(([one, other]) => [one.discovers(other), other.discovers(one)])));
  await check(`every two of ${names} have an open data channel`, () =>
    Promise.all(pairs(peers).map(([one, other]) =>
      until(async () => (await one.hasChannelTo(other)) && (await other.hasChannelTo(one))))), withinMs);
}

/** Everybody sends to one and to all. Channels keep order, so who has the broadcast has what came before it. */
async function talk(peers) {
  for (const from of peers) {
    const [to] = others(peers, from);
    const secret = `direct ${randomUUID()}`;
    const news = `broadcast ${randomUUID()}`;
    await check(`a direct message of ${from.name} reaches ${to.name}, a broadcast everybody, once`, async () => {
      await from.ask('tell', to.id, secret);
      await from.ask('tellAll', news);
      await Promise.all(others(peers, from).map((peer) => until(() => peer.ask('hasHeard', news))));
      await until(() => to.ask('hasHeard', secret));
      for (const peer of others(peers, from)) {
        await hasExactly(peer, news, [{ from: from.id, content: news, direct: false }]);
        await hasExactly(peer, secret, peer === to ? [{ from: from.id, content: secret, direct: true }] : []);
      }
    });
  }
}

async function hasExactly(peer, content, expected) {
  const copies = JSON.stringify(await peer.ask('copiesOf', content));
  ensure(copies === JSON.stringify(expected), `${peer.name} has ${copies} of "${content}"`);
}

const isDepartureOf = (peer) => ({ type, data }) => type === 'peer-disconnected' && data.peerId === peer.id;
const isGoodbyeOf = (peer) => ({ type, fromPeerId }) => type === 'goodbye' && fromPeerId === peer.id;

async function partWithGoodbye(peers, leaver, how, depart) {
  await check(`${leaver.name} ${how}, and everybody lets go of it`, async () => {
    await depart();
    await Promise.all(others(peers, leaver).map(async (peer) => {
      await Promise.all([peer.message(isGoodbyeOf(leaver)), peer.message(isDepartureOf(leaver))]);
      await until(() => peer.ask('lost', leaver.id));
      await until(async () => !(await peer.ask('knows', leaver.id)));
    }));
  });
}

/** What a hub must get right in every frame: the client drops the rest without a word. */
async function heardOnlyWhatIsMeantForIt(peer, network) {
  const forClients = ['peer-discovered', 'offer', 'answer', 'ice-candidate', 'goodbye'];
  await check(`${peer.name} was sent only what concerns it, in the network "${network}"`, async () => {
    for (const message of peer.received.filter(({ type }) => forClients.includes(type))) {
      const { fromPeerId, targetPeerId = peer.id, networkName, data } = message;
      const aboutItself = fromPeerId === peer.id || data?.peerId === peer.id;
      ensure(networkName === network && targetPeerId === peer.id && !aboutItself, JSON.stringify(message));
    }
  });
}

/** Two peers meet and talk, then four; then they leave one after the other, each in its own way. */
export async function gathering({ stage, hubs }) {
  const at = (place) => hubs[place % hubs.length];
  const ada = await stage.peer('Ada', at(0));
  const bob = await stage.peer('Bob', at(hubs.length - 1));
  await meet([ada, bob]);
  await talk([ada, bob]);

  const cy = await stage.peer('Cy', at(1));
  const dee = await stage.peer('Dee', at(2));
  const all = [ada, bob, cy, dee];
  await meet(all);
  await talk(all);

  await partWithGoodbye(all, dee, 'says goodbye', () => dee.leave());
  await partWithGoodbye([ada, bob, cy], cy, 'closes its tab', () => cy.closeTab());
  await check('Bob crashes, and Ada is told that it is gone', async () => {
    await bob.crash();
    await ada.message(isDepartureOf(bob));
    ensure(!ada.received.some(isGoodbyeOf(bob)), 'a goodbye was sent in the name of a crashed peer');
  }, LEAVE_SEEN_WITHIN_MS);
  for (const peer of all) await heardOnlyWhatIsMeantForIt(peer, 'global');
}

/** Networks are apart: what happens in one is not heard in another. */
export async function networks({ stage, hubs }) {
  const last = hubs[hubs.length - 1];
  const stranger = await stage.peer('Stranger', last, { networkName: 'another' });
  const ada = await stage.peer('Ada', hubs[0], { networkName: 'ours' });
  const bob = await stage.peer('Bob', last, { networkName: 'ours' });
  await check('the stranger is online', () => stranger.online());
  await meet([ada, bob]);
  await talk([ada, bob]);
  // A closing tab's goodbye names no network.
  await partWithGoodbye([ada, bob], bob, 'closes its tab', () => bob.closeTab());

  // Clients compare ids letter by letter, so a hub must keep the spelling that a client chose.
  const peerId = randomBytes(20).toString('hex').toUpperCase();
  const friend = await stage.peer('Friend', hubs[0], { networkName: 'another', peerId });
  await meet([stranger, friend]);
  await check('neither network heard of the other', async () => {
    ensure(String(await stranger.ask('discovered')) === friend.id, 'the stranger knows more than its friend');
    ensure(String(await friend.ask('discovered')) === stranger.id, 'the friend knows more than the stranger');
    const ours = [ada.id, bob.id];
    for (const peer of [stranger, friend]) {
      const heard = peer.frames.find(({ text }) => ours.some((id) => text.includes(id)));
      ensure(!heard, `${peer.name} was sent ${heard?.text}`);
    }
  });
  for (const peer of [ada, bob]) await heardOnlyWhatIsMeantForIt(peer, 'ours');
  for (const peer of [stranger, friend]) await heardOnlyWhatIsMeantForIt(peer, 'another');
}

/** Open channels outlive their hub; its peers come back to it, and newcomers find them. */
export async function restart({ stage, hubs, backstage }) {
  const last = hubs.length - 1;
  const ada = await stage.peer('Ada', hubs[0]);
  const bob = await stage.peer('Bob', hubs[last]);
  await meet([ada, bob]);

  await backstage.ask('stop-hub', last);
  await check('Bob notices that its hub is gone', () => bob.offline());
  await talk([ada, bob]);
  await backstage.ask('start-hub', last);
  await check('Bob is back', () => bob.online(), BACK_WITHIN_MS);

  const cy = await stage.peer('Cy', hubs[0]);
  await meet([ada, bob, cy]);
  await talk([ada, bob, cy]);
}

/** A peer whose socket is cut, or dies without its hub seeing it, comes back under its own id. */
export async function cut({ stage, hubs }) {
  const wire = await stage.wire(hubs[0]);
  const ada = await stage.peer('Ada', wire.url);
  const bob = await stage.peer('Bob', hubs[hubs.length - 1]);
  await meet([ada, bob]);

  await comesBack(ada, bob, 'its socket is cut', () => wire.cut());
  const cy = await stage.peer('Cy', hubs[0]);
  await meet([ada, bob, cy]);

  await comesBack(ada, bob, 'its socket is left hanging', () => wire.leaveHanging());
  const dee = await stage.peer('Dee', hubs[hubs.length - 1]);
  await meet([ada, bob, cy, dee]);
  await talk([ada, bob, cy, dee]);
}

/**
 * A hub greets a socket before it knows whether the id is still held by a dead one, which it gives 2 s to answer.
 * Offers for that id go to the dead socket until then, and the client that made one does not try again for 45 s.
 * So a peer is back when its hub has told it of the others anew.
 */
async function comesBack(peer, witness, what, happen) {
  const before = peer.received.length;
  const toldOfWitness = ({ type, data }) => type === 'peer-discovered' && data.peerId === witness.id;
  await check(`${peer.name} notices that ${what}`, async () => {
    await happen();
    await peer.offline();
  });
  await check(`${peer.name} is back after ${what}, its channel never lost`, async () => {
    await until(async () => peer.received.slice(before).some(toldOfWitness) && (await peer.ask('isOnline')));
    ensure(await peer.hasChannelTo(witness), `${peer.name} lost its channel to ${witness.name}`);
  }, BACK_WITHIN_MS);
}
