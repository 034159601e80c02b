// node run.mjs CLIENT STORY HUB_URL…
//
// Plays one story of CLIENT/stories.mjs on the given hubs. Prints `ok …` and `not ok …` lines and exits non-zero when a
// check failed. A line `ask DOING WHAT` asks the process that started this script to do what a browser cannot do. That
// process answers `done` on standard input. When standard input ends, the script gives the story up.

import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { CheckFailed, note } from './report.mjs';
import { Stage } from './stage.mjs';

const CLIENTS = ['peerpigeon', 'peerjs', 'readme', 'turn', 'page', 'admin', 'yjs'];

const [client, name, ...hubs] = process.argv.slice(2);
const stories = CLIENTS.includes(client) ? await import(`./${client}/stories.mjs`) : {};
const story = stories[name];
if (!story || hubs.length === 0) {
  console.error(`usage: node run.mjs ${CLIENTS.join('|')} ${Object.keys(stories).join('|') || 'STORY'} HUB_URL…`);
  process.exit(64);
}
const { CLIENT } = await import(`./${client}/page.mjs`);

const answers = createInterface({ input: process.stdin });
const givenUp = once(answers, 'close').then(() => {
  throw new CheckFailed('standard input ended');
});

const backstage = {
  async ask(doing, what) {
    console.log(`ask ${doing} ${what}`);
    const [answer] = await once(answers, 'line');
    if (answer !== 'done') throw new CheckFailed(`${doing} ${what}: ${answer}`);
  },
};

const stage = new Stage(CLIENT);
let failed = false;
try {
  await Promise.race([stage.open().then(() => story({ stage, hubs, backstage })), givenUp]);
} catch (error) {
  failed = true;
  note(error instanceof CheckFailed ? `failed: ${error.message}` : error.stack);
  await stage.explain();
}
await stage.close();
process.exit(failed ? 1 : 0);
