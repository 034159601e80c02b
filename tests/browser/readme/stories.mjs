// The stories of the README's examples, which are played as the README has them.

import { check, until } from '../report.mjs';

/** Two pages with the example of the native client. */
export async function peerpigeon({ stage, hubs }) {
  const one = await stage.peer('one', hubs[0], { example: 'native-1' });
  const other = await stage.peer('other', hubs.at(-1), { example: 'native-2' });
  await meet(one, other);
}

/** The same through the hubs' relays, and by no other way. */
export async function peerpigeon_relayed({ stage, hubs }) {
  const one = await stage.peer('one', hubs[0], { example: 'native-1-relayed', relayed: true });
  const other = await stage.peer('other', hubs.at(-1), { example: 'native-2-relayed', relayed: true });
  await meet(one, other);
}

async function meet(one, other) {
  await check('each discovers the other in its network', () => Promise.all([one, other].map((peer) =>
    peer.message(({ type, networkName }) => type === 'peer-discovered' && networkName === 'my-game'))));
  await check('they connect to each other', () =>
    Promise.all([one, other].map((peer) => until(() => peer.ask('isConnected')))), 60_000);
}

/** The example of PeerJS, and the same with the names changed over. A message for one who is not there yet waits. */
export async function peerjs({ stage, hubs }) {
  const ada = await stage.peer('Ada', hubs[0], { example: 'ada' });
  const bob = await stage.peer('Bob', hubs.at(-1), { example: 'bob' });
  await greet(ada, bob);
}

/** The same through the hubs' relays, and by no other way. */
export async function peerjs_relayed({ stage, hubs }) {
  const ada = await stage.peer('Ada', hubs[0], { example: 'ada-relayed', relayed: true });
  const bob = await stage.peer('Bob', hubs.at(-1), { example: 'bob-relayed', relayed: true });
  await greet(ada, bob);
}

async function greet(ada, bob) {
  await check('Bob says hello to Ada, and Ada to Bob', () => Promise.all([
    until(() => ada.ask('hasSaid', 'bob says hello')),
    until(() => bob.ask('hasSaid', 'ada says hello')),
  ]), 60_000);
}
