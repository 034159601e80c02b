// Data channels through the hub's own relays, with each transport between the client and its relay.

import { deepStrictEqual } from 'node:assert';

import { check } from '../report.mjs';

async function relays(stage, hubs, ways) {
  const ada = await stage.peer('Ada', hubs[0]);
  for (const [scheme, transport, protocol] of ways) {
    await check(`a data channel opens through a relay by ${protocol}`, async () => {
      const got = await ada.ask('relayed', scheme, transport, `hello by ${protocol}`);
      deepStrictEqual(got, { heard: `hello by ${protocol}`, way: { type: 'relay', protocol } });
      return true;
    }, 40_000);
  }
}

export async function plain({ stage, hubs }) {
  await relays(stage, hubs, [['turn', 'udp', 'udp'], ['turn', 'tcp', 'tcp']]);
}

export async function secure({ stage, hubs }) {
  await relays(stage, hubs, [['turns', 'tcp', 'tls']]);
}
