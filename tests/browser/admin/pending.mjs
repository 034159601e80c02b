// The view of waiting signals and of contests: on two real hubs, and page by page on a simulated mesh.

import { accessible, calm, MARKUP, narrow, unharmed } from '../looking.mjs';
import { check, ensure, until } from '../report.mjs';
import { MockHub } from './mock.mjs';
import { peer } from './peers.mjs';
import { enter, TOKEN, view } from './visit.mjs';

/** The next client asks for a contested id before the hub finds the one before it dead. */
const NEXT_AFTER_MS = 500;
/** Rows on a page. */
const PAGE = 50;

const NONE = { waiting: 'No targets', contests: 'No contested ids' };

const card = (page, list) => page.locator(`section[aria-labelledby="${list}-title"]`);
const rows = (page, list) => page.locator(`#${list} tbody tr`);
const row = (page, list, id) => page.locator(`#${list} tbody tr`, { has: page.getByRole('rowheader', { name: id, exact: true }) });
const pager = (page, list) => card(page, list).locator('.pager');
const total = (page, list) => card(page, list).locator('.total').innerText();

/** The list has no row, and the page says so in words. */
async function isEmpty(page, list) {
  await pager(page, list).getByText(NONE[list], { exact: true }).waitFor();
  await until(async () => (await total(page, list)) === '0 now');
  ensure((await rows(page, list).count()) === 0, `${list} has rows`);
}

async function idOf(hub) {
  const answer = await fetch(`${hub}admin/api/session`, { headers: { authorization: `Bearer ${TOKEN}` } });
  return (await answer.json()).hub;
}

/** A client with this id. `heard` has the types of the messages that it gets. */
async function client(hub, dialect, id) {
  const opened = await peer(hub, dialect, id, 'lounge');
  const heard = [];
  opened.socket.on('message', (message) => heard.push(JSON.parse(message).type));
  return { ...opened, heard };
}

/** Clients ask for this id until `enough` is over. None of them reads anything, so none shows that it is alive. */
async function contested(hub, id, enough) {
  const newcomers = [];
  let isOver = false;
  const ask = async () => {
    while (!isOver) {
      const newcomer = await peer(hub, 'coordinator', id, 'lounge');
      newcomer.socket.pause();
      newcomers.push(newcomer);
      await new Promise((next) => setTimeout(next, NEXT_AFTER_MS));
    }
  };
  const asking = ask();
  try {
    await Promise.race([enough(), asking]);
  } finally {
    isOver = true;
    await asking;
    for (const { socket } of newcomers) socket.terminate();
  }
}

async function looksWell(page, what) {
  await accessible(page, what);
  await page.emulateMedia({ colorScheme: 'dark' });
  await accessible(page, `${what}, in the dark`);
  await page.emulateMedia({ colorScheme: 'light' });
  await narrow(page, what);
}

export async function pending({ stage, hubs }) {
  const eve = await stage.visitor('Eve', `${hubs[0]}admin`);
  const { page } = eve;
  await enter(page);
  await view(page, 'Signals');
  await check('where no signal waits and no id is contested, the page says so', async () => {
    for (const list of Object.keys(NONE)) await isEmpty(page, list);
  });
  const other = (await idOf(hubs[1])).slice(0, 8);
  await waits(page, hubs, other);
  await contests(page, hubs, other);
  await unharmed([page]);
  await calm([eve]);
}

async function waits(page, hubs, other) {
  const sender = await peer(hubs[1], 'peerjs', 'sender');
  await check('signals that wait at the other hub appear by themselves, with their target as text', async () => {
    for (const number of [1, 2, 3]) sender.socket.send(JSON.stringify({ type: 'OFFER', dst: MARKUP, payload: { number } }));
    await row(page, 'waiting', MARKUP).getByText('3 signals').waitFor();
    const words = await row(page, 'waiting', MARKUP).innerText();
    for (const part of ['peerjs', other]) ensure(words.includes(part), `no ${part} in ${words}`);
    ensure((await total(page, 'waiting')) === '3 now', await total(page, 'waiting'));
    await card(page, 'waiting').getByText(`By hub: ${other} 3.`).waitFor();
    await pager(page, 'waiting').getByText('1 to 1 of 1 target', { exact: true }).waitFor();
  });
  await looksWell(page, 'signals that wait');
  await check('when their target comes it gets them, and they are gone from the page', async () => {
    const target = await client(hubs[0], 'peerjs', MARKUP);
    await until(() => target.heard.filter((type) => type === 'OFFER').length === 3);
    await isEmpty(page, 'waiting');
    target.socket.terminate();
  });
  sender.socket.terminate();
}

async function contests(page, hubs, other) {
  const holder = await client(hubs[0], 'coordinator', MARKUP);
  await until(() => holder.heard.includes('room-joined'));
  holder.socket.pause();
  await contested(hubs[1], MARKUP, async () => {
    await check('an id that clients at the other hub ask for while it is held appears by itself, as text', async () => {
      await row(page, 'contests', MARKUP).getByText(/^\d+ joins?$/).waitFor();
      const words = await row(page, 'contests', MARKUP).innerText();
      for (const part of ['coordinator', other]) ensure(words.includes(part), `no ${part} in ${words}`);
      await pager(page, 'contests').getByText('1 to 1 of 1 contested id', { exact: true }).waitFor();
    });
    await looksWell(page, 'an id that is contested');
  });
  await check('when nobody asks for it any more it is gone from the page', () => isEmpty(page, 'contests'));
  holder.socket.terminate();
}

/** So many rows of one hub, in the order in which they are listed. */
function many(count, { id: hub }, what) {
  const numbers = Array.from({ length: count }, (_, number) => String(number + 1).padStart(3, '0'));
  return numbers.map((number) => ({ dialect: 'pigeon', network: 'global', id: `${what} ${number}`, hub, sinceMs: Date.now(), count: 1 }));
}

export async function pages({ stage }) {
  const mock = new MockHub({ hubs: 3, networks: 3, eventsPerSecond: 0 });
  mock.waiting = [];
  try {
    await turnsPages(stage, mock);
  } finally {
    mock.close();
  }
}

async function turnsPages(stage, mock) {
  const eve = await stage.visitor('Eve', `${await mock.listen()}#signals`);
  const { page } = eve;
  const shows = (list, words) => pager(page, list).getByText(words, { exact: true }).waitFor();
  const press = (name) => page.getByRole('button', { name, exact: true }).click();
  const isOff = (name) => page.getByRole('button', { name, exact: true }).isDisabled();
  await check('an address that names the view opens it, with empty lists', async () => {
    for (const list of Object.keys(NONE)) await isEmpty(page, list);
    for (const name of ['Back: targets', 'Next: targets', 'Back: contested ids', 'Next: contested ids']) ensure(await isOff(name), `${name} can be pressed`);
  });
  mock.waiting = [...many(119, mock.hubs[1], 'target'), { ...many(1, mock.hubs[2], 'first')[0], id: MARKUP }];
  mock.contests = many(60, mock.hubs[0], 'id');
  mock.silent = [mock.hubs[2].id];
  await check('many rows appear by themselves, a page of each list', async () => {
    await shows('waiting', '1 to 50 of 120 targets');
    await shows('contests', '1 to 50 of 60 contested ids');
    for (const list of Object.keys(NONE)) ensure((await rows(page, list).count()) === PAGE, `${await rows(page, list).count()} rows of ${list}`);
    await row(page, 'waiting', MARKUP).waitFor();
  });
  await check('a hub that did not answer is named', () => card(page, 'waiting').getByText(`No answer from ${mock.silent[0].slice(0, 8)}`).waitFor());
  await looksWell(page, 'full pages of waiting signals and of contests');
  await check('the next pages follow, and the way back leads to the first', async () => {
    await press('Next: targets');
    await shows('waiting', '51 to 100 of 120 targets');
    await row(page, 'waiting', 'target 050').waitFor();
    await press('Next: targets');
    await shows('waiting', '101 to 120 of 120 targets');
    await row(page, 'waiting', 'target 119').waitFor();
    ensure((await rows(page, 'waiting').count()) === 20, 'the last page has other rows too');
    ensure(await isOff('Next: targets'), 'there is a page behind the last');
    await press('Back: targets');
    await shows('waiting', '51 to 100 of 120 targets');
    await press('Back: targets');
    await row(page, 'waiting', MARKUP).waitFor();
    ensure(await isOff('Back: targets'), 'there is a page before the first');
  });
  await check('the other list kept its page', () => shows('contests', '1 to 50 of 60 contested ids'));
  await check('a list that ends before the page that is shown begins again', async () => {
    await press('Next: contested ids');
    await row(page, 'contests', 'id 060').waitFor();
    mock.contests = many(7, mock.hubs[0], 'id');
    await shows('contests', '1 to 7 of 7 contested ids');
    await row(page, 'contests', 'id 007').waitFor();
  });
  await unharmed([page]);
  await calm([eve]);
}
