// Checks for all pages of a hub, for users or operators: a page is accessible, requests nothing from other hosts, and
// shows text of other users as text. This file also takes pictures of a page.

import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { check, ensure, note, until } from './report.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Pictures go into the build's folder, unless somebody wants them in `docs`. */
const PICTURES = fileURLToPath(new URL(process.env.HUBMESH_SCREENSHOTS ?? '../../target/screenshots', import.meta.url));

export const MARKUP = '<img src=x onerror="window.hacked=1">';

export const text = (page, where) => page.locator(where).innerText();

/** Neither the accessibility rules of WCAG A and AA nor axe's own find anything serious. */
export async function accessible(page, what) {
  await check(`axe finds nothing serious: ${what}`, async () => {
    // The page's own policy allows no foreign script, so axe is evaluated as a debugger does it.
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => window.axe.run());
    for (const { id, impact, nodes } of violations) note(`${impact} ${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
    const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    ensure(grave.length === 0, `${grave.length} serious faults`);
  });
}

/** `expected` are the errors that a browser writes by itself where a hub refused something, as the story wanted it to. */
export async function calm(visitors, expected = []) {
  await check('nothing was asked of another host, and the console has no error', () => {
    for (const { name, errors, foreign } of visitors) {
      const others = errors.filter((error) => !expected.some((pattern) => pattern.test(error)));
      ensure(others.length === 0, `${name}: ${others.join(' | ')}`);
      ensure(foreign.length === 0, `${name} asked for ${foreign.join(' ')}`);
    }
  });
}

export async function unharmed(pages) {
  await check('text with markup in it stayed text', async () => {
    for (const page of pages) {
      ensure((await page.evaluate(() => window.hacked)) === undefined, 'a handler ran');
      ensure((await page.locator('main img').count()) === 0, 'an element was made');
    }
  });
}

export async function narrow(page, what) {
  await check(`on a narrow screen nothing sticks out: ${what}`, async () => {
    const before = page.viewportSize();
    await page.setViewportSize({ width: 360, height: 740 });
    // Pictures are drawn anew in their new width a moment after the screen has its own.
    await until(() => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    await page.setViewportSize(before);
  });
}

export async function pictures(page, name, { fullPage = true } = {}) {
  mkdirSync(PICTURES, { recursive: true });
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: path.join(PICTURES, `${name}-${colorScheme}.png`), fullPage, animations: 'disabled' });
  }
  await page.emulateMedia({ colorScheme: 'light' });
}
