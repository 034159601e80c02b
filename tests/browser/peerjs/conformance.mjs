// node conformance.mjs (--server URL | --reference | --table) [OPTION…]
//
// Observes a PeerJS server and compares the observations with checks.mjs and rooms.mjs. `--help` prints the options.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual, parseArgs } from 'node:util';

import { CHECKS } from './checks.mjs';
import { ROOM_CHECKS } from './rooms.mjs';
import { Lab } from './lab.mjs';

const HELP = `Usage: node conformance.mjs (--server URL | --reference | --table) [OPTION…]

  --server URL       the server to ask, with its path: http://127.0.0.1:9000/
  --other URL        a second hub of the same mesh: checks with two clients put one on each
  --reference        start npm \`peer\` and ask it; it must behave as the checks record
  --table            print the recorded differences as Markdown, asking nobody

  --suite NAME       relay (default), limit, rooms or shutdown
  --key KEY          its key (peerjs)
  --expire MS        its expire timeout (5000)
  --alive MS         its alive timeout; unset: the checks that wait for it are skipped
  --discovery        it lists its peers
  --limit N          limit: the clients it takes; rooms: the peers of a room
  --stop PID         shutdown: the process to send SIGTERM to
  --json             print one JSON object a check in place of a table
  --help             print this
`;

const CHECK_WITHIN_MS = 30_000;
const LINKED_WITHIN_MS = 15_000;
const KNOCK_EVERY_MS = 100;
const REFERENCE_SETTINGS = {
  relay: { expire_timeout: 2_000, alive_timeout: 3_000, allow_discovery: true },
  limit: { concurrent_limit: 2 },
  shutdown: {},
};
const REFERENCE_LAB = {
  relay: { expire: 2_000, alive: 3_000, discovery: true },
  limit: { limit: 2 },
  shutdown: {},
};

/** Settles as `work` does, or as `expired` does when that takes too long; leaves no timer behind. */
async function within(limitMs, work, expired) {
  const timer = new AbortController();
  const late = sleep(limitMs, undefined, { signal: timer.signal }).then(expired);
  late.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}

/** Observes, and tells how that compares: `as expected`, `as recorded` for the reference, else `WRONG`. */
async function ask(check, lab) {
  const wanted = lab.isReference && check.differs ? check.differs.observed : check.expected;
  const observing = within(CHECK_WITHIN_MS, check.observe(lab), () => `nothing within ${CHECK_WITHIN_MS} ms`);
  const observed = await observing.catch((error) => `failed: ${error.message}`);
  lab.close();
  if (!isDeepStrictEqual(observed, wanted)) return { check, observed, wanted, verdict: 'WRONG' };
  return { check, observed, wanted, verdict: wanted === check.expected ? 'as expected' : 'as recorded' };
}

/** Two hubs that were started just now may not know each other yet. */
async function linked(open) {
  const lab = open();
  const token = lab.name('token');
  const [ada, bob] = await Promise.all(['here', 'there'].map((at) => lab.peer({ at, token })));
  const arrived = bob.message(({ type }) => type === 'OFFER');
  const knock = setInterval(() => ada.send({ type: 'OFFER', dst: bob.id }), KNOCK_EVERY_MS);
  try {
    await within(LINKED_WITHIN_MS, arrived, () => { throw new Error('the two servers do not reach each other'); });
  } finally {
    clearInterval(knock);
    lab.close();
  }
}

/** Checks use names of their own and run side by side; those of the other suites change the server. */
async function askAll(suite, open) {
  const { settings } = open();
  const checks = [...CHECKS, ...ROOM_CHECKS]
    .filter((check) => check.suite === suite && (!check.needs || settings[check.needs]));
  if (suite === 'relay' || suite === 'rooms') return Promise.all(checks.map((check) => ask(check, open())));
  const results = [];
  for (const check of checks) results.push(await ask(check, open()));
  return results;
}

async function askReference(suite) {
  const script = fileURLToPath(new URL('reference.mjs', import.meta.url));
  const settings = Object.entries(REFERENCE_SETTINGS[suite]).map(([name, value]) => `${name}=${value}`);
  const server = spawn(process.execPath, [script, ...settings], { stdio: ['pipe', 'pipe', 'ignore'] });
  try {
    const [line] = await once(createInterface({ input: server.stdout }), 'line');
    const url = line.replace('serving ', '');
    return await askAll(suite, () => {
      const lab = new Lab({ here: url, there: url }, { key: 'peerjs', ...REFERENCE_LAB[suite] });
      lab.isReference = true;
      lab.stop = () => server.kill('SIGTERM');
      return lab;
    });
  } finally {
    server.kill('SIGKILL');
  }
}

async function askServer({ server, other, suite, key, expire, alive, discovery, limit, stop }) {
  const settings = { key, expire: Number(expire), alive: Number(alive ?? 0), discovery, limit: Number(limit ?? 0) };
  const open = () => {
    const lab = new Lab({ here: server, there: other ?? server }, settings);
    lab.stop = () => process.kill(Number(stop), 'SIGTERM');
    return lab;
  };
  if (other) await linked(open);
  return askAll(suite, open);
}

const SHOWN = 120;
const short = (text) => (text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
/** A value as people read it: lists and texts bare, the rest as JSON. */
function shown(value) {
  if (Array.isArray(value)) return value.map(shown).join(', ') || 'nothing';
  return short(typeof value === 'string' ? value : JSON.stringify(value));
}

function print(results, asJson) {
  for (const { check, observed, wanted, verdict } of results) {
    if (asJson) {
      console.log(JSON.stringify({ check: check.name, verdict, observed, wanted }));
      continue;
    }
    console.log(`${verdict === 'WRONG' ? 'not ok' : 'ok'} ${check.name}: ${shown(observed)} (${verdict})`);
    if (verdict === 'WRONG') console.log(`# wanted ${shown(wanted)}`);
  }
}

function table() {
  const rows = CHECKS.filter(({ differs }) => differs).map(({ name, code, expected, differs }) => {
    const cell = (value) => (code ? `\`${shown(value)}\`` : shown(value).replaceAll('|', '\\|'));
    return `| ${[name, cell(differs.observed), cell(expected), differs.why].join(' | ')} |`;
  });
  return ['| what | PeerServer 1.0.2 | hubmesh | why |', '|---|---|---|---|', ...rows].join('\n');
}

const options = Object.fromEntries(
  ['server', 'other', 'suite', 'key', 'expire', 'alive', 'limit', 'stop'].map((name) => [name, { type: 'string' }])
    .concat(['reference', 'table', 'discovery', 'json', 'help'].map((name) => [name, { type: 'boolean', default: false }])),
);
Object.assign(options.suite, { default: 'relay' });
Object.assign(options.key, { default: 'peerjs' });
Object.assign(options.expire, { default: '5000' });

const { values } = parseArgs({ options });
if (values.help) {
  console.log(HELP);
} else if (values.table) {
  console.log(table());
} else if (values.reference || values.server) {
  const results = values.reference
    ? (await Promise.all(Object.keys(REFERENCE_SETTINGS).map(askReference))).flat()
    : await askServer(values);
  print(results, values.json);
  const wrong = results.filter(({ verdict }) => verdict === 'WRONG').length;
  process.exitCode = wrong > 0 || results.length === 0 ? 1 : 0;
} else {
  console.error(HELP);
  process.exitCode = 64;
}
