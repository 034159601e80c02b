// node run.mjs STORY HUB_URL…
//
// Plays one story of stories.mjs on the given hubs. Prints `ok …` and `not ok …` lines and exits non-zero
// when a check failed. A line `ask DOING WHAT` wants whoever started this to do something that a browser
// cannot, and to answer `done` on standard input. When standard input ends, the run is given up.

import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { CheckFailed, note } from './report.mjs';
import { Stage } from './stage.mjs';
import * as stories from './stories.mjs';

const [name, ...hubs] = process.argv.slice(2);
const story = stories[name];
if (!story || hubs.length === 0) {
  console.error(`usage: node run.mjs ${Object.keys(stories).join('|')} HUB_URL…`);
  process.exit(64);
}

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

const stage = new Stage();
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
