// node nat/lab.mjs PREFIX HUB_URL
//
// Starts two Chromiums, one in each home of a NAT lab whose namespaces begin with PREFIX. Unmodified PeerJS clients
// connect through the hub, with the servers that its /ice-servers gives. Prints `ok …` and `not ok …` lines and exits
// non-zero when a check failed. This process serves the pages through the driver's own pipe. The pipe crosses
// namespaces, so no other connection has to.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

import { CheckFailed, check, ensure, note } from '../report.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
const PAGE = '<!doctype html><meta charset="utf-8"><script src="/peerjs.js"></script>';

const [prefix, hub] = process.argv.slice(2);
if (!hub) {
  console.error('usage: node nat/lab.mjs PREFIX HUB_URL');
  process.exit(64);
}
const client = await readFile(new URL('peerjs.min.js', import.meta.resolve('peerjs')), 'utf8');
const folder = await mkdtemp(join(tmpdir(), 'nat-lab-'));
const browsers = [];

async function page(home) {
  const inside = join(folder, home);
  await writeFile(inside, `#!/bin/sh\nexec ip netns exec ${prefix}-${home} ${CHROMIUM} "$@"\n`, { mode: 0o700 });
  const browser = await chromium.launch({ executablePath: inside, headless: true, args: FLAGS });
  browsers.push(browser);
  const opened = await browser.newPage();
  opened.on('console', (message) => note(`${home}: ${message.text()}`));
  await opened.route('http://page.test/**', (route) => {
    const script = route.request().url().endsWith('.js');
    return route.fulfill({ body: script ? client : PAGE, contentType: script ? 'text/javascript' : 'text/html' });
  });
  await opened.goto('http://page.test/');
  await opened.evaluate(start, [hub, home]);
  return opened;
}

/** Runs in the page: a client that echoes what others send. */
async function start([hub, id]) {
  const config = await (await fetch(`${hub}/ice-servers?peerId=${id}`)).json();
  const { hostname, port } = new URL(hub);
  window.self_ = new window.Peer(id, { host: hostname, port: Number(port), path: '/', secure: false, config });
  await new Promise((resolve, reject) => { window.self_.on('open', resolve).on('error', reject); });
  window.self_.on('connection', (link) => link.on('data', (data) => link.send(data)));
}

/** Runs in the page: what comes back from a peer, and the kinds of the addresses by which it is reached. */
async function greet(to) {
  const link = window.self_.connect(to);
  const back = new Promise((resolve, reject) => { link.on('data', resolve).on('error', reject); });
  link.on('open', () => link.send('hello'));
  const heard = await back;
  // What is sent can arrive before the browser counts the pair that carried it as nominated.
  let stats, pair;
  while (pair === undefined) {
    stats = [...(await link.peerConnection.getStats()).values()];
    pair = stats.find(({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded');
    if (pair === undefined) await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  const kind = (wanted) => stats.find(({ id }) => id === wanted)?.candidateType;
  return { heard, ways: [kind(pair.localCandidateId), kind(pair.remoteCandidateId)] };
}

let failed = false;
try {
  const [a] = await check('two PeerJS clients open behind symmetric NATs', () => Promise.all([page('a'), page('b')]), 60_000);
  await check('a data channel opens between them, through a relay of the hub', async () => {
    const { heard, ways } = await a.evaluate(greet, 'b');
    ensure(heard === 'hello', `it brought ${heard}`);
    ensure(ways.includes('relay'), `its way is ${ways}`);
  }, 40_000);
} catch (error) {
  failed = true;
  note(error instanceof CheckFailed ? `failed: ${error.message}` : error.stack);
}
await Promise.all(browsers.map((browser) => browser.close()));
await rm(folder, { recursive: true });
process.exit(failed ? 1 : 0);
