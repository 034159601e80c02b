// The stories of a hub's page. Each story is given the addresses of hubs.

import { accessible, calm, MARKUP, narrow, pictures, text, unharmed } from '../looking.mjs';
import { check, ensure, note, until } from '../report.mjs';

/** The page asks every second; the machine may be busy. */
const LIVE_WITHIN_MS = 5_000;

const phase = (page, wanted) => page.locator(`.room[data-phase=${wanted}]`).waitFor({ timeout: 60_000 });

async function says(from, to, words) {
  await from.fill('#message', words);
  await from.press('#message', 'Enter');
  await to.locator('#lines .other', { hasText: words }).first().waitFor();
}

async function idOf(hub) {
  return (await (await fetch(`${hub}stats`)).json()).hubPeerId;
}

export async function demo({ stage, hubs }) {
  const ada = await stage.visitor('Ada', hubs[0]);
  await check('the page says that the hub and its mesh are well', async () => {
    await ada.page.getByText('Healthy').waitFor();
    await ada.page.getByText('1 other hub within reach').waitFor();
  });
  await accessible(ada.page, 'the page as it comes');
  await ada.page.emulateMedia({ colorScheme: 'dark' });
  await accessible(ada.page, 'the page in the dark');
  await ada.page.emulateMedia({ colorScheme: 'light' });

  const link = await check('one click opens a room, with a link and its QR code', async () => {
    await ada.page.getByRole('button', { name: 'Open a room' }).click();
    await phase(ada.page, 'waiting');
    const shown = await text(ada.page, '#room-link pre');
    ensure(shown.startsWith(`${hubs[0]}#room=`), shown);
    await ada.page.getByRole('img', { name: `QR code of ${shown}` }).waitFor();
    return shown;
  });
  await accessible(ada.page, 'a room that waits');
  await pictures(ada.page, 'page');

  const bob = await stage.visitor('Bob', link.replace(hubs[0], hubs[1]));
  const both = [ada.page, bob.page];
  await check('who opens it on the other hub is connected', () => Promise.all(both.map((page) => phase(page, 'talking'))), 60_000);
  await check('messages go both ways', async () => {
    await says(ada.page, bob.page, 'Hello from Ada');
    await says(bob.page, ada.page, 'Hello from Bob');
  });
  await check('each side sees the path, the round trip, and which hub each is on', async () => {
    const [north, south] = await Promise.all(hubs.map(idOf));
    for (const [page, own, other] of [[ada.page, north, south], [bob.page, south, north]]) {
      await until(async () => /^host/.test(await text(page, '#path')));
      ensure(/^[\d.]+ ms$/.test(await text(page, '#round-trip')), 'no round trip');
      ensure((await text(page, '#self-hub')).includes(own.slice(0, 8)), 'its own hub');
      ensure((await text(page, '#other-hub')).includes(`${other.slice(0, 8)} (north)`), 'the hub of the other');
    }
  });
  await pictures(ada.page, 'demo');
  await check('a message with markup arrives as it was written', () => says(bob.page, ada.page, MARKUP));
  await unharmed(both);
  await accessible(ada.page, 'a room with two in it');

  const carol = await stage.visitor('Carol', link);
  // The invitation of a waiting room also mentions a third visitor and a full room, so the check reads the alert.
  await check('a third is told that the room is full', () => carol.page.getByRole('alert').getByText('The room is full').waitFor());
  await check('who closes the page is seen to go, and the next who comes is let in', async () => {
    await bob.page.close({ runBeforeUnload: true });
    await phase(ada.page, 'waiting');
    await carol.page.getByRole('button', { name: 'Try again' }).click();
    await Promise.all([ada.page, carol.page].map((page) => phase(page, 'talking')));
  }, 60_000);
  await calm([ada, bob, carol]);
}

/** A peer of the native dialect without a browser. */
async function peer(hub, network, data) {
  const id = Array.from({ length: 40 }, () => Math.floor(Math.random() * 16).toString(16)).join('');
  const { default: WebSocket } = await import('ws');
  const socket = new WebSocket(`${hub.replace('http', 'ws')}ws?peerId=${id}`);
  await new Promise((opened, failed) => socket.on('open', opened).on('error', failed));
  socket.send(JSON.stringify({ type: 'announce', networkName: network, data }));
  return socket;
}

/** The hub keeps the place of a page whose connection broke, for as long as it may be back. It answers nothing meanwhile. */
export async function ghost({ stage, hubs }) {
  const ada = await stage.visitor('Ada', hubs[0]);
  await ada.page.getByRole('button', { name: 'Open a room' }).click();
  await phase(ada.page, 'waiting');
  const link = await text(ada.page, '#room-link pre');
  const ghost = await peer(hubs[1], `demo-${new URL(link).hash.slice('#room='.length)}`, { demo: { hub: null, region: 'beyond' } });
  await phase(ada.page, 'meeting');
  const bob = await stage.visitor('Bob', link.replace(hubs[0], hubs[1]));
  await check('who comes while somebody is met who answers nothing is not sent away', async () => {
    await bob.page.locator('.room:is([data-phase=meeting], [data-phase=talking])').waitFor();
    ghost.terminate();
    await Promise.all([ada, bob].map(({ page }) => phase(page, 'talking')));
  }, 60_000);
  await calm([ada, bob]);
}

export async function live({ stage, hubs, backstage }) {
  const ada = await stage.visitor('Ada', hubs[0]);
  const here = new URL(hubs[0]);
  await check('the lines to copy have the address and the path of this hub', async () => {
    const shown = () => text(ada.page, '#way pre');
    await until(async () => (await shown()).includes(`mesh.connect('ws://${here.host}')`));
    await ada.page.getByRole('tab', { name: 'PeerPigeon' }).press('ArrowRight');
    const lines = await shown();
    for (const part of [`host: '${here.hostname}'`, `port: ${here.port}`, 'secure: false', "path: '/myapp/'"]) {
      ensure(lines.includes(part), `no ${part} in ${lines}`);
    }
    ensure(!lines.includes('key'), 'the key is the one that clients have anyway');
    for (const [name, part] of [['y-webrtc', `signaling: ['ws://${here.host}/yjs']`], ['Self-Streme', `'ws://${here.host}/p2p'`], ['OctateCode', `'ws://${here.host}/rooms'`]]) {
      await ada.page.getByRole('tab', { name }).click();
      ensure((await shown()).includes(part), `no ${part} in ${await shown()}`);
    }
  });
  await check('behind a proxy that ends TLS, the lines have the address and the scheme of the proxy', async () => {
    const { page } = await stage.visitor('Bob', hubs[0]);
    await page.route('https://hub.example/**', async (route) => {
      const { pathname, search } = new URL(route.request().url());
      await route.fulfill({ response: await route.fetch({ url: new URL(pathname + search, hubs[0]).href }) });
    });
    await page.goto('https://hub.example/');
    await until(async () => (await text(page, '#way pre')).includes("mesh.connect('wss://hub.example')"));
    await page.getByRole('tab', { name: 'PeerJS' }).click();
    const lines = await text(page, '#way pre');
    for (const part of ["host: 'hub.example'", 'port: 443', 'secure: true']) ensure(lines.includes(part), `no ${part} in ${lines}`);
    await page.close();
  });
  await check('the button copies the lines', async () => {
    await ada.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await ada.page.getByRole('button', { name: 'Copy the lines for OctateCode' }).click();
    await ada.page.getByText('Copied').waitFor();
    const copied = await ada.page.evaluate(() => navigator.clipboard.readText());
    ensure(copied === (await text(ada.page, '#way pre')), copied);
  });
  const own = () => text(ada.page, '#figures .figure:first-child dd');
  await check('a peer that comes is seen', async () => {
    ensure((await own()).startsWith('0'), await own());
    const guest = await peer(hubs[0], 'global', {});
    const began = performance.now();
    await until(async () => (await own()).startsWith('1'));
    note(`seen after ${Math.round(performance.now() - began)} ms`);
    guest.close();
    await until(async () => (await own()).startsWith('0'));
  }, 2 * LIVE_WITHIN_MS);

  await ada.page.getByRole('button', { name: 'Open a room' }).click();
  await phase(ada.page, 'waiting');
  const room = new URL(await text(ada.page, '#room-link pre')).hash.slice('#room='.length);
  const rogue = await peer(hubs[1], `demo-${room}`, { demo: { hub: MARKUP, region: MARKUP } });
  await check('where another says that it is, is shown as it was written', async () => {
    await until(async () => (await text(ada.page, '#other-hub')).includes(MARKUP));
  });
  await unharmed([ada.page]);
  rogue.close();
  await calm([ada]);

  await check('the page says when the hub no longer answers, and when it is back', async () => {
    await backstage.ask('stop-hub', '0');
    await ada.page.getByText('This hub does not answer').waitFor();
    await backstage.ask('start-hub', '0');
    await ada.page.getByText('Healthy').waitFor();
  }, 60_000);
}

export async function token({ stage, hubs }) {
  const ada = await stage.visitor('Ada', hubs[0]);
  const open = ada.page.getByRole('button', { name: 'Open a room' });
  const field = ada.page.getByLabel('This hub asks for a token');
  await check('without a token no room can be opened', async () => {
    await field.waitFor();
    ensure(await open.isDisabled(), 'the button works');
  });
  await accessible(ada.page, 'a page that asks for a token');
  await check('a wrong token is named as the likely reason', async () => {
    await field.fill('open-barley');
    await open.click();
    await ada.page.getByText('the token is wrong').waitFor();
  });
  await check('with the right one a room opens, and the address does not name it', async () => {
    await ada.page.getByRole('button', { name: 'Leave the room' }).click();
    await field.fill('open-sesame');
    await open.click();
    await phase(ada.page, 'waiting');
    ensure(!ada.page.url().includes('sesame'), ada.page.url());
    ensure(!(await text(ada.page, '#room-link pre')).includes('sesame'), 'the link names it');
    const kept = await ada.page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie]));
    ensure(!kept.includes('sesame'), kept);
  });
}

/** As behind a firewall that lets nothing through but a relay. */
function relaysAlone() {
  const Plain = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Plain {
    constructor(options) {
      super({ ...options, iceTransportPolicy: 'relay' });
    }
  };
}

export async function relay({ stage, hubs }) {
  const ada = await stage.visitor('Ada', hubs[0], { before: relaysAlone });
  await ada.page.getByRole('button', { name: 'Open a room' }).click();
  const bob = await stage.visitor('Bob', await text(ada.page, '#room-link pre'), { before: relaysAlone });
  await check("where only relays get through, the hub's own connect both sides, and they see so", async () => {
    for (const { page } of [ada, bob]) {
      await phase(page, 'talking');
      await until(async () => /^relay/.test(await text(page, '#path')));
    }
    await says(ada.page, bob.page, 'Hello through a relay');
  }, 60_000);
  await calm([ada, bob]);
}

export async function failure({ stage, hubs }) {
  const ada = await stage.visitor('Ada', hubs[0], { before: relaysAlone });
  await ada.page.getByRole('button', { name: 'Open a room' }).click();
  const bob = await stage.visitor('Bob', await text(ada.page, '#room-link pre'));
  await check('the side without a path says that there is no TURN server', () =>
    ada.page.getByText('named no TURN server').waitFor({ timeout: 60_000 }), 60_000);
  await check('the other side says that it heard of no address', () =>
    bob.page.getByText('No address of the other side arrived').waitFor({ timeout: 60_000 }), 60_000);
  await accessible(ada.page, 'a connection that failed');
  await calm([ada, bob]);
}

export async function without({ stage, hubs }) {
  const ada = await stage.visitor('Ada', `${hubs[0]}#room=abcdefgh`);
  await check('there is a page, and no demo on it', async () => {
    await ada.page.getByText('Connect a client').waitFor();
    ensure((await ada.page.getByText('Open a room').count()) === 0, 'the demo is there');
  });
  await narrow(ada.page, 'the page without a demo');
  await calm([ada]);
}

export async function closed({ stage, hubs }) {
  const ada = await stage.visitor('Ada', hubs[0]);
  await check('the page says that the hub is well, and nothing of the mesh', async () => {
    await ada.page.getByText('Healthy').waitFor();
    for (const part of ['#figures', '#mesh', '#hubs']) ensure((await ada.page.locator(part).count()) === 0, `${part} is there`);
    ensure((await ada.page.locator('a[href="/metrics"]').count()) === 0, 'a link that leads nowhere');
  });
  await check('the demo opens a room all the same', async () => {
    await ada.page.getByRole('button', { name: 'Open a room' }).click();
    await phase(ada.page, 'waiting');
  });
  await accessible(ada.page, 'the page of a hub that shows no mesh');
  await calm([ada]);
}
