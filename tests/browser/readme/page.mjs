// What a page of the README's examples is made of: each example as it stands there, but for the address of its hub,
// bundled by the command that stands there too.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const README = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
const MODULES = fileURLToPath(new URL('../node_modules/', import.meta.url));
const ESBUILD = path.join(MODULES, 'esbuild/bin/esbuild');
// Beside the packages that an example imports, where none of it is kept.
const FOLDER = mkdtempSync(path.join(MODULES, '.readme-'));
process.on('exit', () => rmSync(FOLDER, { recursive: true, force: true }));

/** The fenced block behind the comment that names `test`. */
function block(test) {
  const found = README.match(new RegExp(`<!-- test: ${test} -->\n\`\`\`\\w+\n(.*?)\n\`\`\``, 's'));
  if (!found) throw new Error(`the README has no block for ${test}`);
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

function peerjs(hub, [own, other]) {
  const { hostname, port } = new URL(hub);
  const there = { "'hub.example.org'": `'${hostname}'`, 'port: 443': `port: ${port}`, 'secure: true': 'secure: false' };
  return reworded(block('peerjs'), { ...there, "'ada'": `'${own}'`, "connect('bob')": `connect('${other}')` });
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
  },
  permissions: [],
  flags: [],
};
