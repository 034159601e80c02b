// The parts of a page of this client: its own script, bundled with the client and its documents.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ESBUILD = fileURLToPath(new URL('../node_modules/esbuild/bin/esbuild', import.meta.url));
const SOURCE = fileURLToPath(new URL('page/peer.js', import.meta.url));
const FOLDER = mkdtempSync(path.join(tmpdir(), 'yjs-page-'));
const BUNDLE = path.join(FOLDER, 'peer.js');
process.on('exit', () => rmSync(FOLDER, { recursive: true, force: true }));

execFileSync(process.execPath, [ESBUILD, SOURCE, '--bundle', `--outfile=${BUNDLE}`, '--log-level=warning']);

export const CLIENT = {
  files: {
    '/': [new URL('page/index.html', import.meta.url), 'text/html; charset=utf-8'],
    '/peer.js': [BUNDLE, 'text/javascript; charset=utf-8'],
  },
  permissions: [],
  flags: [],
};
