// What the operator's page must do, as stories over the addresses of hubs.

import { setTimeout as sleep } from 'node:timers/promises';

import { accessible, calm, narrow, pictures } from '../looking.mjs';
import { check, ensure, note, until } from '../report.mjs';
import { MockHub } from './mock.mjs';

const view = (page, name) => page.getByRole('tab', { name, exact: true }).click();

/** The hubs that the picture and the table show, but for those that are lost. */
async function hubsShown(page) {
  const drawn = await page.locator('.picture .hub:not(.lost)').count();
  const listed = await page.locator('#hubs tbody tr:not(.lost)').count();
  return drawn === listed ? drawn : -1;
}

/** How long the page did nothing else, at the longest and in all, while `work` went on. */
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

/** From a press to what it leads to, in milliseconds. */
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
    await looksAtLarge(stage, await mock.listen());
  } finally {
    mock.close();
  }
}

async function looksAtLarge(stage, url) {
  const eve = await stage.visitor('Eve', url);
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
