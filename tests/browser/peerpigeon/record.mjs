// node record.mjs [FOLDER]
//
// Plays a gathering on the JavaScript hub that ships with peerpigeon. Writes all frames of the clients' WebSockets,
// byte for byte: the golden fixtures of the pigeon dialect.

import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

import { PeerPigeonServer } from 'peerpigeon';

import { Stage } from '../stage.mjs';
import { CLIENT } from './page.mjs';
import { gathering } from './stories.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../../fixtures/pigeon/', import.meta.url));

// Bob and Cy have smaller ids than Ada, so that they and Ada offer to each other at the same time and settle it.
const IDS = {
  Ada: 'cd9a2959ee9f0636ae243a7b06aeba1b0f1acb12',
  Bob: '5a4698a37bc9129276a031239d3321c9a7d00ad2',
  Cy: '689e0f56cff3428a1af8de848567b1c5620af0c0',
  Dee: 'ededde14d5cd42cf21d86f2c8caa788b9e49062b',
};

/** That hub takes no port 0, so it is given one that was free a moment ago. */
async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

const hub = new PeerPigeonServer({ port: await freePort(), host: '127.0.0.1' });
const { port } = await hub.start();
const stage = new Stage(CLIENT);
try {
  await stage.open();
  const cast = { peer: (name, hub) => stage.peer(name, hub, { peerId: IDS[name] }) };
  await gathering({ stage: cast, hubs: [`ws://127.0.0.1:${port}`] });
  await mkdir(folder, { recursive: true });
  for (const { name, frames } of stage.peers) {
    const lines = frames.map(({ dir, text }) => `${JSON.stringify({ dir, text })}\n`);
    await writeFile(path.join(folder, `${name.toLowerCase()}.jsonl`), lines.join(''));
  }
} finally {
  await stage.close();
  await hub.stop();
}
