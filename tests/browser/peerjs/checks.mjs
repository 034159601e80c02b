// The checks of a PeerJS server. Each check has its observation and the value that a hub must show. If the reference
// (npm `peer`) shows another value, `differs` has that value and the reason why a hub differs. Observations are plain
// values, so they can be compared and printed. `suite` names the kind of server that a check needs, and `needs` the
// setting that the check reads. `code` says that the observation is JSON text.
//
// A check never sleeps to see that nothing happens: it sends a later message the same way and looks at the messages
// before it. Two checks have to wait (a queue, a silence); their waits follow from the server's settings.

import { setTimeout as sleep } from 'node:timers/promises';

import { noted } from './lab.mjs';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const ORIGIN = 'https://game.example';
// The reference looks through its queues once a second; in a mesh, a message takes one or two hops.
const TOLD_LATE_MS = 2_500;

const conversation = async (client) => {
  await client.closed();
  return [...client.messages.map(noted), 'closed'];
};

const ofType = (wanted) => ({ type }) => type === wanted;

/** Sends a message of which `field` is the exact JSON text and tells how it arrived: that text, or what became of it. */
async function carried(lab, field, value) {
  const [ada, bob] = await lab.pair();
  ada.send(`{"type":"OFFER","dst":"${bob.id}","${field}":${value}}`);
  const text = await bob.text(ofType('OFFER'));
  return text.includes(`"${field}":${value}`) ? value : JSON.stringify(JSON.parse(text)[field]) ?? 'nothing';
}

/** What follows a message that no client sends: an answer, the end, or nothing, seen by a message after it. */
async function aftermath(lab, odd) {
  const [ada, bob] = await lab.pair();
  ada.send(odd(bob));
  const mark = lab.name('mark');
  ada.send({ type: 'OFFER', dst: bob.id, payload: { mark } });
  // A message back to the sender arrives after all messages of the server itself.
  const arrived = bob.message(({ payload }) => payload?.mark === mark).then(() => lab.mark(bob, ada));
  const end = await Promise.race([arrived.then(() => 'goes on'), ada.closed().then((code) => `closed ${code}`)]);
  const news = ({ messages }) => messages.filter(({ type, payload }) => type !== 'OPEN' && !payload?.mark);
  const told = [[ada, 'the sender'], [bob, 'the target']]
    .flatMap(([client, who]) => news(client).map(({ type }) => `${type} to ${who}`));
  return [...told, end];
}

const http = [
  {
    name: 'GET {path} describes the server',
    async observe(lab) {
      const { status, text } = await lab.get('');
      const body = JSON.parse(text);
      const fields = ['name', 'description', 'website'].filter((field) => typeof body[field] === 'string');
      return `${status} ${fields.join(', ')}`;
    },
    expected: '200 name, description, website',
  },
  {
    name: 'GET {path}{key}/id gives a fresh UUID each time',
    async observe(lab) {
      const ids = await Promise.all([1, 2].map(() => lab.get(`${lab.settings.key}/id?ts=17&version=1.5.5`)));
      const [one, other] = ids.map(({ text }) => text);
      return { uuids: [one, other].every((id) => UUID.test(id)), fresh: one !== other };
    },
    expected: { uuids: true, fresh: true },
  },
  {
    name: 'the type of a generated id',
    async observe(lab) {
      const { headers } = await lab.get(`${lab.settings.key}/id`);
      return headers.get('content-type')?.split(';')[0];
    },
    expected: 'text/plain',
    differs: { observed: 'text/html', why: 'an id is no page; the client reads it as text either way' },
  },
  {
    name: 'pages of other origins may read what HTTP gives',
    async observe(lab) {
      const paths = ['', `${lab.settings.key}/id`, `${lab.settings.key}/peers`];
      const answers = await Promise.all(paths.map((path) => lab.get(path, { headers: { origin: ORIGIN } })));
      return answers.every(({ headers }) => ['*', ORIGIN].includes(headers.get('access-control-allow-origin')));
    },
    expected: true,
  },
  {
    name: 'a preflight for headers that tracing adds is granted',
    async observe(lab) {
      const names = 'baggage,sentry-trace,traceparent';
      const { status, headers } = await lab.ask('OPTIONS', `${lab.settings.key}/id`, {
        origin: ORIGIN,
        'access-control-request-method': 'GET',
        'access-control-request-headers': names,
      });
      return [status, headers.get('access-control-allow-headers').includes(names), headers.get('vary').includes('Headers')];
    },
    expected: [204, true, true],
  },
  {
    name: 'a request with 300 headers',
    async observe(lab) {
      const many = Object.fromEntries(Array.from({ length: 300 }, (_, number) => [`x-${number}`, 'y']));
      return (await lab.ask('GET', `${lab.settings.key}/id`, many)).status;
    },
    expected: 200,
  },
  {
    name: 'the first subprotocol that a client offers is agreed on',
    async observe(lab) {
      const { status, headers } = await lab.askForSocket({ 'sec-websocket-protocol': 'mqtt, wamp' });
      return `${status} ${headers.get('sec-websocket-protocol')}`;
    },
    expected: '101 mqtt',
  },
  {
    name: 'a WebSocket that is asked for by HTTP/1.0',
    async observe(lab) {
      return `${(await lab.askForSocket({}, { version: '1.0' })).status}`;
    },
    expected: '426',
    differs: {
      observed: '101',
      why: 'WebSockets need HTTP/1.1 (RFC 6455); it is a proxy that is set up wrong, and the answer says how to set it up',
    },
  },
  {
    name: 'a WebSocket whose Upgrade a proxy dropped',
    async observe(lab) {
      return `${(await lab.askForSocket({ connection: 'close', upgrade: 'none' })).status}`;
    },
    expected: '426',
    differs: { observed: '404', why: 'the answer names the cause, and the log does' },
  },
  {
    name: 'GET {path}{key}/peers lists who is connected',
    needs: 'discovery',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      await lab.mark(ada, bob);
      const { status, text } = await lab.get(`${lab.settings.key}/peers`);
      const ids = JSON.parse(text);
      return { status, here: ids.includes(ada.id), there: ids.includes(bob.id) };
    },
    expected: { status: 200, here: true, there: true },
  },
  {
    name: 'GET {path}{key}/peers when listing is off',
    suite: 'limit',
    observe: async (lab) => (await lab.get(`${lab.settings.key}/peers`)).status,
    expected: 401,
  },
];

const door = [
  {
    name: 'a connection with an id, a token and the key is opened',
    async observe(lab) {
      const client = await lab.peer();
      return client.messages.map(({ type }) => type);
    },
    expected: ['OPEN'],
  },
  ...[['id', { id: '' }], ['token', { token: '' }], ['key', { key: '' }]].map(([what, without]) => ({
    name: `a connection without ${what}`,
    observe: (lab) => conversation(lab.start(without)),
    expected: ['ERROR "No id, token, or key supplied to websocket server"', 'closed'],
  })),
  {
    name: 'a connection without any query',
    observe: (lab) => conversation(lab.dial('')),
    expected: ['ERROR "No id, token, or key supplied to websocket server"', 'closed'],
  },
  {
    name: 'a connection with another key',
    observe: (lab) => conversation(lab.start({ key: lab.name('key') })),
    expected: ['ERROR "Invalid key provided"', 'closed'],
  },
  {
    name: 'one client more than the server takes',
    suite: 'limit',
    async observe(lab) {
      await Promise.all(Array.from({ length: lab.settings.limit }, () => lab.peer()));
      return conversation(lab.start());
    },
    expected: ['ERROR "Server has reached its concurrent user limit"', 'closed'],
  },
  {
    name: 'an id of 200 characters',
    observe: async (lab) => {
      const client = lab.start({ id: 'x'.repeat(200) });
      await client.settled();
      return noted(client.messages[0] ?? { type: String(client.closedWith) });
    },
    expected: 'ERROR "An id has 1 to 64 characters, and at most 128 bytes"',
    differs: { observed: 'OPEN', why: 'every hub of a mesh keeps every id, so they are bounded' },
  },
];

const ids = [
  {
    name: 'an id that another token holds',
    async observe(lab) {
      const holder = await lab.known();
      const second = await conversation(lab.start({ at: 'there', id: holder.id }));
      const friend = await lab.peer({ at: 'there' });
      await lab.mark(friend, holder);
      return { newcomer: second, holder: holder.isOpen ? 'goes on' : 'closed' };
    },
    expected: { newcomer: ['ID-TAKEN "ID is taken"', 'closed'], holder: 'goes on' },
  },
  {
    name: 'a second connection with the same id and token: messages go to it',
    async observe(lab) {
      const first = await lab.known();
      const second = await lab.takeOver(first);
      const friend = await lab.peer({ at: 'here' });
      await lab.mark(friend, second);
      return second.messages.map(({ type }) => type);
    },
    expected: ['OPEN', 'OFFER'],
    differs: { observed: ['OFFER'], why: 'without OPEN a client that reconnects before its old socket is gone stays closed for ever' },
  },
  {
    name: 'a second connection with the same id and token: the first',
    async observe(lab) {
      const first = await lab.known();
      const second = await lab.takeOver(first);
      const friend = await lab.peer({ at: 'there' });
      await lab.mark(friend, second);
      if (lab.isReference) return first.isOpen ? 'is left open, and told nothing' : 'is closed';
      const code = await first.closed();
      const told = first.messages.filter(({ type }) => !['OPEN', 'OFFER'].includes(type));
      return [...told.map(noted), `closed ${code}`].join(', ');
    },
    expected: 'ID-TAKEN "ID is taken", closed 1008',
    differs: {
      observed: 'is left open, and told nothing',
      why: 'it would go on sending in the name of the id; nobody would tell it that no answer can reach it',
    },
  },
  {
    name: 'an id whose holder closed is free',
    async observe(lab) {
      const first = await lab.peer({ at: 'here' });
      first.close();
      await first.closed();
      const second = await lab.peer({ at: 'here', id: first.id });
      return second.messages.map(noted);
    },
    expected: ['OPEN'],
  },
  {
    name: 'LEAVE without a target: the id is free, and the sender',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      ada.send({ type: 'LEAVE' });
      if (lab.isReference) await lab.mark(ada, bob);
      else await ada.closed();
      await lab.peer({ at: 'here', id: ada.id });
      return ada.isOpen ? 'stays open without an id' : 'is closed';
    },
    expected: 'is closed',
    differs: { observed: 'stays open without an id', why: 'it could send under an id that is somebody else\'s by then' },
  },
];

const relay = [
  ...['OFFER', 'ANSWER', 'CANDIDATE', 'LEAVE'].map((type) => ({
    name: `${type} reaches its target with the sender's id`,
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      // A LEAVE does not wait for its target: ada's hub has to have heard of bob.
      if (type === 'LEAVE') await lab.mark(ada, bob);
      ada.send({ type, dst: bob.id, payload: { connectionId: 'dc_1' } });
      const { src, dst, payload } = await bob.message(ofType(type));
      return { src: src === ada.id ? 'the sender' : src, dst: dst === bob.id ? 'the target' : dst, payload };
    },
    expected: { src: 'the sender', dst: 'the target', payload: { connectionId: 'dc_1' } },
  })),
  {
    name: 'a message in the name of another',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      ada.send({ type: 'OFFER', src: lab.name('victim'), dst: bob.id, payload: 1 });
      const { src } = await bob.message(ofType('OFFER'));
      return src === ada.id ? 'arrives with its sender\'s own id' : `arrives as from ${src}`;
    },
    expected: 'arrives with its sender\'s own id',
  },
  {
    name: 'what one sends arrives in order',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      for (let nth = 0; nth < 50; nth += 1) ada.send({ type: 'CANDIDATE', dst: bob.id, payload: { nth } });
      await lab.mark(ada, bob);
      const order = bob.messages.filter(ofType('CANDIDATE')).map(({ payload }) => payload.nth);
      return order.length === 50 && order.every((nth, place) => nth === place);
    },
    expected: true,
  },
  {
    name: '1,300 messages at once',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      for (let nth = 0; nth < 1_300; nth += 1) ada.send({ type: 'CANDIDATE', dst: bob.id, payload: { nth } });
      const last = bob.message(({ payload }) => payload?.nth === 1_299).then(() => 'all arrive');
      const refused = ada.message(ofType('ERROR')).then(noted);
      return Promise.race([last, refused]);
    },
    // A hub reads the messages beyond RATE_LIMIT_BURST more slowly.
    expected: 'all arrive',
  },
  {
    name: 'a heartbeat is not answered',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      ada.send({ type: 'HEARTBEAT' });
      await lab.mark(ada, bob);
      const unmarked = await lab.mark(bob, ada);
      return ada.messages.filter(unmarked).map(({ type }) => type);
    },
    expected: ['OPEN'],
  },
  {
    name: 'a client that goes is not reported to others',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      const cy = await lab.peer({ at: 'here' });
      ada.send({ type: 'OFFER', dst: bob.id });
      await bob.message(ofType('OFFER'));
      ada.close();
      await ada.closed();
      const unmarked = await lab.mark(cy, bob);
      return bob.messages.filter(unmarked).map(({ type }) => type);
    },
    expected: ['OPEN', 'OFFER'],
  },
];

const payloads = [
  ['a number beyond 2^53', '12345678901234567890', '12345678901234567000'],
  ['a number with a trailing zero', '1.50', '1.5'],
  ['a key that is there twice', '{"a":1,"a":2}', '{"a":2}'],
  ['spaces between tokens', '{ "a" : [ 1 , 2 ] }', '{"a":[1,2]}'],
  ['escapes', '"\\u0041\\/\\u00e9"', '"A/é"'],
  ['characters of every plane', '"é ✓ 💥 \u2028"'],
  ['half a surrogate pair', '"\\ud83d"'],
  ['half a surrogate pair as a key', '{"\\ud83d":"\\udca5"}'],
  ['a key named __proto__', '{"__proto__":{"polluted":true}}'],
  ['60 levels', `${'['.repeat(60)}${']'.repeat(60)}`],
  ['500 levels', `${'['.repeat(500)}${']'.repeat(500)}`],
  ['null', 'null'],
  ['a text of 20,000 characters', `"${'v=0 '.repeat(5_000)}"`],
].map(([what, value, became]) => ({
  name: `a payload is carried as it was sent: ${what}`,
  observe: (lab) => carried(lab, 'payload', value),
  expected: value,
  code: true,
  differs: became && { observed: became, why: 'read and written anew; a hub passes the text on' },
}));

const oddities = [
  {
    name: 'a message without a payload',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      ada.send({ type: 'OFFER', dst: bob.id });
      return 'payload' in await bob.message(ofType('OFFER')) ? 'arrives with one' : 'arrives without one';
    },
    expected: 'arrives without one',
  },
  {
    name: 'a field that no client sends',
    observe: (lab) => carried(lab, 'extra', '{"ttl":3}'),
    expected: '{"ttl":3}',
    code: true,
    differs: { observed: 'nothing', why: 'a hub passes on what it does not know, so that clients can grow' },
  },
  {
    name: 'an EXPIRE that a client made up',
    observe: (lab) => aftermath(lab, (bob) => ({ type: 'EXPIRE', dst: bob.id })),
    expected: ['goes on'],
    differs: { observed: ['EXPIRE to the target', 'goes on'], why: 'only a server knows that a peer is unavailable' },
  },
  {
    name: 'a type that does not exist',
    observe: (lab) => aftermath(lab, (bob) => ({ type: 'GOSSIP', dst: bob.id, payload: 1 })),
    expected: ['goes on'],
  },
  {
    name: 'a message without a type',
    observe: (lab) => aftermath(lab, (bob) => ({ dst: bob.id, payload: 1 })),
    expected: ['goes on'],
  },
  {
    name: 'an offer without a target',
    observe: (lab) => aftermath(lab, () => ({ type: 'OFFER', payload: 1 })),
    expected: ['goes on'],
  },
  {
    name: 'an offer to a number',
    observe: (lab) => aftermath(lab, () => ({ type: 'OFFER', dst: 1234, payload: 1 })),
    expected: ['goes on'],
  },
  ...[['a number', 7], ['null', null], ['a list', ['OFFER']], ['an object', { type: 'OFFER' }]].map(([what, type]) => ({
    name: `a type that is ${what}`,
    observe: (lab) => aftermath(lab, (bob) => ({ type, dst: bob.id, payload: 1 })),
    expected: ['goes on'],
  })),
  {
    name: 'a type that ends in half a surrogate pair',
    observe: (lab) => aftermath(lab, (bob) => ({ type: 'OFFER\ud83d', dst: bob.id, payload: 1 })),
    expected: ['goes on'],
  },
  {
    name: 'a target that is there twice: the last counts',
    observe: (lab) => aftermath(lab, ({ id }) => `{"type":"ANSWER","dst":"${lab.name()}","dst":"${id}","payload":1}`),
    expected: ['ANSWER to the target', 'goes on'],
  },
  {
    name: 'a byte order mark before a message',
    observe: (lab) => aftermath(lab, ({ id }) => `\ufeff{"type":"ANSWER","dst":"${id}","payload":1}`),
    expected: ['ANSWER to the target', 'goes on'],
    differs: { observed: ['goes on'], why: 'RFC 8259 lets a reader pass over it; dropped, nobody would hear why nothing came' },
  },
  {
    name: 'a payload of 5,000 levels',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      ada.send(`{"type":"ANSWER","dst":"${bob.id}","payload":${'['.repeat(5_000)}${']'.repeat(5_000)}}`);
      return Promise.race([
        ada.message(ofType('EXPIRE')).then(() => 'EXPIRE to the sender'),
        bob.closed().then(() => 'the target is closed'),
      ]);
    },
    expected: 'EXPIRE to the sender',
    differs: { observed: 'the target is closed', why: 'its stack is too small to write that anew; a hub hands on 1,000 levels' },
  },
  {
    name: 'an offer to a name that ends in half a surrogate pair',
    observe: (lab) => aftermath(lab, () => ({ type: 'OFFER', dst: `${lab.name()}\ud83d`, payload: 1 })),
    expected: ['goes on'],
  },
  {
    name: 'an offer and two candidates to oneself',
    async observe(lab) {
      const [ada, bob] = await lab.pair();
      for (const type of ['OFFER', 'CANDIDATE', 'CANDIDATE']) ada.send({ type, dst: ada.id, payload: 1 });
      await lab.mark(ada, bob);
      const unmarked = await lab.mark(bob, ada);
      return ada.messages.filter(unmarked).slice(1).map(({ type }) => type);
    },
    expected: ['EXPIRE'],
    differs: {
      observed: ['OFFER', 'CANDIDATE', 'CANDIDATE'],
      why: 'a client that takes its own offer for a caller\'s answers itself; a call to oneself fails like one to nobody',
    },
  },
  {
    name: 'an offer to a name of 200 characters',
    observe: (lab) => aftermath(lab, () => ({ type: 'OFFER', dst: 'x'.repeat(200), payload: 1 })),
    expected: ['EXPIRE to the sender', 'goes on'],
    differs: { observed: ['goes on'], why: 'no peer is ever called that, so its caller need not wait to hear it' },
  },
  ...[
    ['a message that is not JSON', 'OFFER{'],
    ['a message that is a list', '[1,2]'],
    ['a message that is a number', '7'],
    ['a message that is null', 'null'],
    ['an empty object', '{}'],
    ['an empty message', ''],
  ].map(([name, text]) => ({
    name,
    observe: (lab) => aftermath(lab, () => text),
    expected: ['goes on'],
  })),
  {
    name: 'a binary message',
    observe: (lab) => aftermath(lab, ({ id }) => Buffer.from(JSON.stringify({ type: 'ANSWER', dst: id, payload: 1 }))),
    expected: ['ERROR to the sender', 'closed 1003'],
    differs: { observed: ['ANSWER to the target', 'goes on'], why: 'no client sends binary messages' },
  },
  {
    name: 'a message of 2 MiB',
    observe: (lab) => aftermath(lab, ({ id }) => ({ type: 'ANSWER', dst: id, payload: 'x'.repeat(2 << 20) })),
    expected: ['EXPIRE to the sender', 'goes on'],
    differs: { observed: ['ANSWER to the target', 'goes on'], why: '`MAX_MESSAGE_BYTES`: what waits in a hub\'s memory is bounded' },
  },
];

const queue = [
  {
    name: 'an offer to an id that connects later, and the candidates after it, in order',
    async observe(lab) {
      const ada = await lab.peer({ at: 'here' });
      const id = lab.name();
      ada.send({ type: 'OFFER', dst: id, payload: 0 });
      for (const payload of [1, 2, 3]) ada.send({ type: 'CANDIDATE', dst: id, payload });
      await sleep(lab.settings.expire * 0.6);
      const late = await lab.peer({ at: 'there', id });
      await late.message(({ payload }) => payload === 3);
      await lab.mark(ada, late);
      return late.messages.slice(1, -1).map(({ type, payload, src }) => `${type} ${payload} ${src === ada.id}`);
    },
    expected: ['OFFER 0 true', 'CANDIDATE 1 true', 'CANDIDATE 2 true', 'CANDIDATE 3 true'],
  },
  {
    name: 'EXPIRE for an id that never connects: once for each target, as if from it',
    async observe(lab) {
      const ada = await lab.peer();
      const targets = [lab.name(), lab.name()];
      const began = performance.now();
      for (const dst of targets) {
        for (const type of ['OFFER', 'CANDIDATE', 'CANDIDATE']) ada.send({ type, dst, payload: {} });
      }
      const told = await Promise.all(targets.map((target) => ada.message(({ src }) => src === target)));
      const waited = performance.now() - began;
      const bob = await lab.peer();
      const unmarked = await lab.mark(bob, ada);
      return {
        told: told.map(({ type, dst }) => `${type} to ${dst === ada.id ? 'the sender' : dst}`),
        times: ada.messages.filter(unmarked).length - 1,
        afterTheTimeout: waited >= lab.settings.expire - 100 && waited < lab.settings.expire + TOLD_LATE_MS,
      };
    },
    expected: { told: ['EXPIRE to the sender', 'EXPIRE to the sender'], times: 2, afterTheTimeout: true },
  },
  {
    name: 'EXPIRE for a name of 200 characters: once for an offer and its candidates',
    async observe(lab) {
      const ada = await lab.peer();
      const dst = 'x'.repeat(200);
      ada.send({ type: 'OFFER', dst, payload: 1 });
      for (let nth = 0; nth < 8; nth += 1) ada.send({ type: 'CANDIDATE', dst, payload: { nth } });
      await ada.message(ofType('EXPIRE'));
      const bob = await lab.peer();
      await lab.mark(ada, bob);
      const unmarked = await lab.mark(bob, ada);
      return ada.messages.filter(unmarked).slice(1).map(({ type }) => type);
    },
    expected: ['EXPIRE'],
  },
  {
    name: 'an offer that expired is not delivered later',
    async observe(lab) {
      const ada = await lab.peer({ at: 'here' });
      const id = lab.name();
      ada.send({ type: 'OFFER', dst: id, payload: 'stale' });
      await ada.message(ofType('EXPIRE'));
      const late = await lab.peer({ at: 'there', id });
      const unmarked = await lab.mark(ada, late);
      return late.messages.filter(unmarked).map(noted);
    },
    expected: ['OPEN'],
  },
  {
    name: 'LEAVE to nobody is not queued, and nobody is told',
    async observe(lab) {
      const ada = await lab.peer({ at: 'here' });
      const id = lab.name();
      const other = lab.name();
      ada.send({ type: 'LEAVE', dst: id });
      ada.send({ type: 'OFFER', dst: other });
      const late = await lab.peer({ at: 'there', id });
      await ada.message(({ type, src }) => type === 'EXPIRE' && src === other);
      const unmarked = await lab.mark(ada, late);
      return {
        late: late.messages.filter(unmarked).map(({ type }) => type),
        sender: ada.messages.map(({ type, src }) => (src === other ? `${type} of another` : type)),
      };
    },
    expected: { late: ['OPEN'], sender: ['OPEN', 'EXPIRE of another'] },
  },
];

const silence = [
  {
    name: 'a client that falls silent is closed, and its id is free',
    needs: 'alive',
    async observe(lab) {
      const silent = await lab.peer({ heartbeats: false, pongs: false });
      await silent.closed();
      const next = await lab.peer({ id: silent.id });
      return next.messages.map(noted);
    },
    expected: ['OPEN'],
  },
  {
    name: 'a client that answers pings and sends no heartbeat',
    needs: 'alive',
    async observe(lab) {
      const quiet = await lab.peer({ heartbeats: false });
      await Promise.race([quiet.closed(), sleep(lab.settings.alive * 1.5)]);
      return quiet.isOpen ? 'stays' : 'is closed';
    },
    expected: 'stays',
    differs: { observed: 'is closed', why: 'browsers slow the timers of hidden tabs down; their sockets still answer' },
  },
];

const end = [
  {
    name: 'a server that is told to stop: its clients',
    suite: 'shutdown',
    async observe(lab) {
      const clients = await Promise.all([1, 2, 3].map(() => lab.peer()));
      lab.stop();
      if (lab.isReference) {
        await lab.refusesNewcomers();
        return clients.every(({ isOpen }) => isOpen) ? 'stay connected to it' : 'are closed';
      }
      const codes = await Promise.all(clients.map((client) => client.closed()));
      return `are closed with ${[...new Set(codes)].join(' and ')}`;
    },
    expected: 'are closed with 1012',
    differs: { observed: 'stay connected to it', why: 'it waits for them for ever; closed, they can go to another hub' },
  },
];

export const CHECKS = [...http, ...door, ...ids, ...relay, ...payloads, ...oddities, ...queue, ...silence, ...end]
  .map((check) => ({ suite: 'relay', ...check }));
