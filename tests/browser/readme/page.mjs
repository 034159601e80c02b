// The parts of a page of the README's examples: each example unchanged except for the address of its hub, and bundled
// by the command in the README.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const read = (page) => readFileSync(new URL(`../../../${page}`, import.meta.url), 'utf8');
const PAGES = read('README.md') + read('docs/nat.md');
const MODULES = fileURLToPath(new URL('../node_modules/', import.meta.url));
const ESBUILD = path.join(MODULES, 'esbuild/bin/esbuild');
// The folder is beside the packages that an example imports, and is deleted on exit.
const FOLDER = mkdtempSync(path.join(MODULES, '.readme-'));
process.on('exit', () => rmSync(FOLDER, { recursive: true, force: true }));

/** The fenced block behind the comment that names `test`. */
function block(test) {
  const found = PAGES.match(new RegExp(`<!-- test: ${test} -->\n\`\`\`\\w+\n(.*?)\n\`\`\``, 's'));
  if (!found) throw new Error(`the pages have no block for ${test}`);
  return found[1];
}

/** `text` with each `from` turned into its `to`; what is not there was renamed, and nothing is tested. */
function reworded(text, words) {
  return Object.entries(words).reduce((worded, [from, to]) => {
    if (!worded.includes(from)) throw new Error(`the README's example has no ${from}`);
    return worded.replaceAll(from, to);
  }, text);
}

/** Bundles an application of this source, and gives the file that a page asks for. */
function bundled(name, source) {
  const [npx, tool, ...words] = block('bundle').split('#')[0].trim().split(/\s+/);
  if (npx !== 'npx' || tool !== 'esbuild') throw new Error('the README bundles by another command');
  writeFileSync(path.join(FOLDER, 'app.js'), source);
  const options = words.map((word) => (word === '--outfile=bundle.js' ? `--outfile=${name}.js` : word));
  execFileSync(process.execPath, [ESBUILD, ...options, '--log-level=warning'], { cwd: FOLDER, stdio: 'inherit' });
  return [path.join(FOLDER, `${name}.js`), 'text/javascript; charset=utf-8'];
}

function native(hub) {
  return reworded(block('peerpigeon'), { 'ws://localhost:8080': hub });
}

function peerjs(hub, names) {
  return named(block('peerjs'), hub, names);
}

function named(example, hub, [own, other]) {
  const { hostname, port } = new URL(hub);
  const there = { "'hub.example.org'": `'${hostname}'`, 'port: 443': `port: ${port}`, 'secure: true': 'secure: false' };
  return reworded(example, { ...there, "'ada'": `'${own}'`, "connect('bob')": `connect('${other}')` });
}

/** Where a page asks a hub for servers: the examples have another address. */
function iceServers(text, hub) {
  const url = new URL(hub);
  url.protocol = 'http:';
  return reworded(text, { "'https://hub.example.org/": `'${url.origin}/` });
}

/** The same examples with the lines of docs/nat.md, which give them the hub's relays. */
function relayedNative(hub) {
  const [first, ...rest] = native(hub).split('\n');
  return [first, iceServers(block('peerpigeon-turn'), hub), ...rest].join('\n');
}

function relayedPeerjs(hub, names) {
  const example = block('peerjs').split('\n');
  const [config, made] = block('peerjs-turn').split('\n');
  const lines = example.map((line) => (line.startsWith('const peer =') ? `${iceServers(config, hub)}\n${made}` : line));
  return named(lines.join('\n'), hub, names);
}

const hubs = process.argv.slice(4);
const [first, last] = [hubs[0], hubs.at(-1)];

export const CLIENT = {
  files: {
    '/': [new URL('page/index.html', import.meta.url), 'text/html; charset=utf-8'],
    '/peer.js': [new URL('page/peer.js', import.meta.url), 'text/javascript; charset=utf-8'],
    '/native-1.js': bundled('native-1', native(first)),
    '/native-2.js': bundled('native-2', native(last)),
    '/ada.js': bundled('ada', peerjs(first, ['ada', 'bob'])),
    '/bob.js': bundled('bob', peerjs(last, ['bob', 'ada'])),
    '/native-1-relayed.js': bundled('native-1-relayed', relayedNative(first)),
    '/native-2-relayed.js': bundled('native-2-relayed', relayedNative(last)),
    '/ada-relayed.js': bundled('ada-relayed', relayedPeerjs(first, ['ada', 'bob'])),
    '/bob-relayed.js': bundled('bob-relayed', relayedPeerjs(last, ['bob', 'ada'])),
  },
  permissions: [],
  flags: [],
};
