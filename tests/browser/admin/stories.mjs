// Stories about the operator's page. Each is played on the hubs whose addresses it is given.

import { setTimeout as sleep } from 'node:timers/promises';

import { accessible, calm, MARKUP, narrow, pictures, text, unharmed } from '../looking.mjs';
import { check, ensure, note, until } from '../report.mjs';
import { MockHub } from './mock.mjs';
import { crowd, DIALECTS, peer } from './peers.mjs';
import { enter, view } from './visit.mjs';

export { pages, pending } from './pending.mjs';

const VIEWS = ['Mesh', 'Networks', 'Traffic', 'Signals', 'Bans', 'Events'];
const CROWD = 50;

/** The longest times until the page shows a change, in milliseconds. */
const SEES = { join: 2_000, death: 6_000, rebirth: 5_000 };

/** Measures `work`, and fails if it took too long. */
async function within(name, mostMs, work) {
  await check(name, async () => {
    const began = performance.now();
    await work();
    const took = Math.round(performance.now() - began);
    note(`${name}: after ${took} ms`);
    ensure(took <= mostMs, `${took} ms, and not ${mostMs}`);
  });
}

const row = (page, id) => page.locator('#peers tr', { has: page.locator('th', { hasText: id }) });

/** The value of a figure at the top of the page. */
async function figure(page, name) {
  const shown = await page.locator('#figures .figure', { has: page.getByText(name, { exact: true }) }).locator('dd').innerText();
  return Number(shown.split('\n')[0].replaceAll(',', ''));
}

/** The number of hubs that the picture and the table show, without lost ones. -1 if the two differ. */
async function hubsShown(page) {
  const drawn = await page.locator('.picture .hub:not(.lost)').count();
  const listed = await page.locator('#hubs tbody tr:not(.lost)').count();
  return drawn === listed ? drawn : -1;
}

async function network(page, name) {
  await view(page, 'Networks');
  await page.getByLabel('Part of a name').fill(name);
  await page.getByRole('button', { name, exact: true }).click();
}

export async function mesh({ stage, hubs, backstage }) {
  const eve = await stage.visitor('Eve', `${hubs[0]}admin`);
  const { page } = eve;
  await accessible(page, 'the login');
  await check('a wrong token is refused in words, and the right one lets in', async () => {
    await page.getByLabel('ADMIN_TOKEN').fill('open-barley');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('alert').waitFor();
    await enter(page);
  });
  await check('the picture and the table show three hubs and their links', async () => {
    await until(async () => (await hubsShown(page)) === 3 && (await page.locator('.picture .link').count()) >= 2);
  });
  const peers = await crowd(hubs, CROWD);
  await check('peers of all dialects are counted and listed', async () => {
    // A client of the coordinator counts once for itself and once for its room.
    await until(async () => (await figure(page, 'Peers')) >= CROWD);
    await view(page, 'Networks');
    for (const dialect of DIALECTS) await page.getByRole('button', { name: dialect === 'peerjs' ? 'peerjs' : `${dialect}-lounge`, exact: true }).waitFor();
  });
  await view(page, 'Mesh');
  await pictures(page, 'admin');
  await seesJoins(page, hubs);
  await steers(page, hubs);
  await looksWell(page);
  await survives(page, backstage);
  for (const { socket } of peers) socket.terminate();
  await unharmed([page]);
  await check('who logs out sees nothing more of the mesh', async () => {
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('ADMIN_TOKEN').waitFor();
    ensure((await page.locator('#figures').count()) === 0, 'the figures are there');
  });
  // The browser itself writes a line to the console for each refusal. The wrong token causes one.
  await calm([eve], [/status of 401/]);
}

async function seesJoins(page, hubs) {
  await view(page, 'Networks');
  await page.getByLabel('Part of a name').fill('a <b>room</b>');
  await page.getByText('No networks').waitFor();
  await within('a join at another hub is seen', SEES.join, async () => {
    const guest = peer(hubs[1], 'coordinator', MARKUP, 'a <b>room</b>');
    await page.getByRole('button', { name: 'a <b>room</b>' }).waitFor();
    await guest;
  });
  await check('an id with markup in it stays text in lists and events', async () => {
    await page.getByRole('button', { name: 'a <b>room</b>' }).click();
    await row(page, MARKUP).getByText('127.0.0.1').waitFor();
    await view(page, 'Events');
    await page.locator('.events li', { hasText: MARKUP }).first().waitFor();
  });
}

async function steers(page, hubs) {
  const [kicked, banned] = await Promise.all([peer(hubs[2], 'pigeon', 'b'.repeat(40), 'steered'), peer(hubs[1], 'pigeon', 'c'.repeat(40), 'steered')]);
  await network(page, 'steered');
  await check('the dialog is answered by the keyboard: Escape says no, and the focus goes back', async () => {
    const button = page.getByRole('button', { name: `Remove ${kicked.id}` });
    await button.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'Remove this peer?' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    ensure(await button.evaluate((element) => element === document.activeElement), 'the focus is elsewhere');
  });
  await check('a peer of another hub is removed', async () => {
    await page.getByRole('button', { name: `Remove ${kicked.id}` }).click();
    await accessible(page, 'a question');
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    const { code, reason } = await kicked.closed;
    ensure(code === 1008 && reason.includes('removed by an operator'), `${code} ${reason}`);
    await row(page, kicked.id).waitFor({ state: 'detached' });
  });
  await check('a peer of another hub is banned, and does not come back', async () => {
    await page.getByRole('button', { name: `Ban ${banned.id}` }).click();
    await page.getByLabel('Reason').fill('too loud');
    await page.getByRole('dialog').getByRole('button', { name: 'Ban' }).click();
    ensure((await banned.closed).code === 1008, 'the code');
    await view(page, 'Bans');
    await page.locator('#bans tr', { hasText: 'too loud' }).waitFor();
    const again = await peer(hubs[2], 'pigeon', banned.id, 'steered').catch(() => null);
    if (again) await again.closed;
  });
  await check('a ban is lifted', async () => {
    await page.getByRole('button', { name: `Lift the ban on ${banned.id}` }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Lift' }).click();
    await page.getByText('Nobody is banned.').waitFor();
    const again = await peer(hubs[1], 'pigeon', banned.id, 'steered');
    await network(page, 'steered');
    await row(page, banned.id).waitFor();
    again.socket.terminate();
  });
}

/** Every view is accessible in the light and dark scheme, and fits a narrow screen. */
async function looksWell(page) {
  for (const name of VIEWS) {
    await view(page, name);
    if (name === 'Networks') await page.locator('#networks tbody button').first().click();
    if (name === 'Traffic') await page.locator('.plot canvas').first().waitFor();
    await accessible(page, name);
    await page.emulateMedia({ colorScheme: 'dark' });
    await accessible(page, `${name} in the dark`);
    await page.emulateMedia({ colorScheme: 'light' });
    await narrow(page, name);
  }
  await check('the arrow keys go from view to view', async () => {
    await page.getByRole('tab', { name: 'Events' }).press('ArrowRight');
    ensure((await page.getByRole('tab', { name: 'Mesh' }).getAttribute('aria-selected')) === 'true', 'the first comes after the last');
  });
}

async function survives(page, backstage) {
  await view(page, 'Mesh');
  await within('a hub that is killed is seen to be lost', SEES.death, async () => {
    await backstage.ask('stop-hub', '2');
    await until(async () => (await hubsShown(page)) === 2 && (await page.locator('.picture .hub.lost').count()) === 1);
  });
  await check('the hub is started anew', () => backstage.ask('start-hub', '2'));
  await within('its return is seen', SEES.rebirth, () => until(async () => (await hubsShown(page)) === 3));
}

export async function reader({ stage, hubs }) {
  const eve = await stage.visitor('Eve', `${hubs[0]}admin`);
  await check('from its own machine everybody sees the mesh, and may change nothing', async () => {
    await until(async () => (await hubsShown(eve.page)) === 2);
    await eve.page.getByText('Read only').waitFor();
    const guest = await peer(hubs[1], 'pigeon', 'd'.repeat(40), 'watched');
    await network(eve.page, 'watched');
    await row(eve.page, guest.id).waitFor();
    ensure((await eve.page.getByRole('button', { name: /^(Remove|Ban) / }).count()) === 0, 'there is a button');
    guest.socket.terminate();
  });
  await calm([eve]);
}

/** The longest task of the page during `work`, and the sum of its long tasks. */
async function busy(page, work) {
  await page.evaluate(() => {
    window.longest = 0;
    window.blocked = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) {
        window.longest = Math.max(window.longest, duration);
        window.blocked += duration;
      }
    }).observe({ entryTypes: ['longtask'] });
  });
  await work();
  return page.evaluate(() => ({ longest: Math.round(window.longest), blocked: Math.round(window.blocked) }));
}

/** The time from an action to its result on the page, in milliseconds. */
async function answerTime(act, wait) {
  const began = performance.now();
  await act();
  await wait();
  return Math.round(performance.now() - began);
}

const QUICK_MS = 2_000;
const WATCHED_MS = 10_000;

export async function large({ stage }) {
  const mock = new MockHub();
  try {
    await looksAtLarge(stage, mock);
  } finally {
    mock.close();
  }
}

async function looksAtLarge(stage, mock) {
  const eve = await stage.visitor('Eve', await mock.listen());
  const { page } = eve;
  await check('a hundred hubs are drawn and listed, none of them outside the picture', async () => {
    await until(async () => (await hubsShown(page)) === 100);
    const outside = await page.evaluate(() => {
      const box = document.querySelector('.picture svg').getBoundingClientRect();
      const dots = [...document.querySelectorAll('.picture .hub .body')].map((dot) => dot.getBoundingClientRect());
      return dots.filter(({ left, right, top, bottom }) => left < box.left || right > box.right || top < box.top || bottom > box.bottom).length;
    });
    ensure(outside === 0, `${outside} stick out`);
  });
  await check('a hub that drains, is silent, had alarms or has another time is marked in words', async () => {
    for (const [number, words] of [[13, 'no report'], [21, '3 alarms'], [41, 'draining'], [77, 'clock']]) {
      await page.locator(`#hubs tr[data-hub="${mock.hubs[number].id}"] .tag`, { hasText: words }).waitFor();
    }
  });
  await check('the page is its own most of the time, with 200 events a second', async () => {
    const { longest, blocked } = await busy(page, () => sleep(WATCHED_MS));
    note(`longest task ${longest} ms; ${blocked} ms of ${WATCHED_MS} in long tasks`);
    ensure(longest < 1_000 && blocked < WATCHED_MS / 2, 'it is not');
  });
  await check('what is pressed and typed is answered at once', async () => {
    const times = {
      networks: await answerTime(() => view(page, 'Networks'), () => page.locator('#networks tbody tr').nth(49).waitFor()),
      page: await answerTime(() => page.getByRole('button', { name: 'Next: networks' }).click(), () => page.getByText('51 to 100 of 10,000').waitFor()),
      search: await answerTime(() => page.getByLabel('Part of a name').fill('-07777'), () => page.getByText('1 to 1 of 1 network', { exact: true }).waitFor()),
      peers: await answerTime(() => page.locator('#networks tbody button').first().click(), () => page.locator('#peers tbody tr').first().waitFor()),
      events: await answerTime(() => view(page, 'Events'), () => page.locator('.events li').nth(100).waitFor()),
      curves: await answerTime(() => view(page, 'Traffic'), () => page.locator('.plot canvas').nth(3).waitFor()),
      mesh: await answerTime(() => view(page, 'Mesh'), () => page.locator('.picture .hub').nth(99).waitFor()),
    };
    note(JSON.stringify(times));
    for (const [what, took] of Object.entries(times)) ensure(took < QUICK_MS, `${what}: ${took} ms`);
  }, 60_000);
  await accessible(page, 'a mesh of a hundred hubs');
  await narrow(page, 'a mesh of a hundred hubs');
  await pictures(page, 'admin-large', { fullPage: false });
  await calm([eve]);
}
