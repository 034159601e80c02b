// The lines that connect a client of each dialect to this hub, as this page reached it.
import { useState } from 'preact/hooks';

import type { About } from './api';
import { Snippet } from './copy';
import { Tabs } from './tabs';

export interface Here {
  host: string;
  port: number;
  secure: boolean;
}

export function here({ hostname, port, protocol }: Location = location): Here {
  const secure = protocol === 'https:';
  return { host: hostname, port: Number(port) || (secure ? 443 : 80), secure };
}

function address({ host, port, secure }: Here, scheme: 'ws' | 'http'): string {
  const plain = port === (secure ? 443 : 80) ? '' : `:${port}`;
  return `${scheme}${secure ? 's' : ''}://${host}${plain}`;
}

function native(place: Here, about: About): string {
  const token = about.needsToken ? '/?token=${encodeURIComponent(token)}' : '';
  const quote = token ? '`' : "'";
  return [
    "import 'peerpigeon';",
    '',
    "const mesh = new window.PeerPigeonMesh({ networkName: 'my-app' });",
    'await mesh.init();',
    `await mesh.connect(${quote}${address(place, 'ws')}${token}${quote});`,
  ].join('\n');
}

function peerjs(place: Here, about: About, peerjs: NonNullable<About['peerjs']>): string {
  const options = [`host: '${place.host}'`, `port: ${place.port}`, `secure: ${place.secure}`];
  if (!peerjs.paths.includes('/')) options.push(`path: '${peerjs.paths[0]}'`);
  if (!peerjs.defaultKey) options.push("key: 'KEY'");
  if (peerjs.rooms) options.push(about.needsToken ? 'token: jwtOfTheRoom' : "token: 'my-room'");
  else if (about.needsToken) options.push('token');
  const lines = ["import { Peer } from 'peerjs';", ''];
  if (about.iceServers) {
    const header = about.needsToken ? ', { headers: { Authorization: `Bearer ${token}` } }' : '';
    lines.push(`const servers = await fetch('${address(place, 'http')}/ice-servers?peerId=ada'${header});`);
    options.push('config: await servers.json()');
  }
  return [...lines, "const peer = new Peer('ada', {", ...options.map((option) => `  ${option},`), '});'].join('\n');
}

/** Of dialects that connect by an address alone: that, with a place for the token where the hub asks for one. */
function socket(place: Here, about: About, path: string): string {
  return about.needsToken ? `\`${address(place, 'ws')}${path}?token=${'${encodeURIComponent(token)}'}\`` : `'${address(place, 'ws')}${path}'`;
}

function yjs(place: Here, about: About): string {
  return [
    "import * as Y from 'yjs';",
    "import { WebrtcProvider } from 'y-webrtc';",
    '',
    "const provider = new WebrtcProvider('my-document', new Y.Doc(), {",
    `  signaling: [${socket(place, about, '/yjs')}],`,
    '});',
  ].join('\n');
}

function coordinator(place: Here, about: About): string {
  return [
    `const socket = new WebSocket(${socket(place, about, '/p2p')});`,
    'const say = (message) => socket.send(JSON.stringify(message));',
    '',
    'socket.onmessage = ({ data }) => {',
    '  const { type, peers } = JSON.parse(data);',
    "  if (type === 'welcome') say({ type: 'register', peerId: 'ada' });",
    "  if (type === 'registered') say({ type: 'join-room', peerId: 'ada', roomId: 'my-room' });",
    "  if (type === 'room-joined') console.log('there:', peers);",
    '};',
  ].join('\n');
}

function rooms(place: Here, about: About): string {
  return [
    `const socket = new WebSocket(${socket(place, about, '/rooms')});`,
    'const say = (type, data) =>',
    "  socket.send(JSON.stringify({ type, roomId: 'my-room', userId: 'ada', data, timestamp: Date.now() }));",
    '',
    "socket.onopen = () => say('auth');",
    'socket.onmessage = ({ data }) => {',
    '  const { type, data: about } = JSON.parse(data);',
    "  if (type === 'auth') say('create-room', { roomName: 'My room', userName: 'Ada' });",
    "  if (type === 'error' && about.code === 'room-exists') say('join-room', { userName: 'Ada' });",
    '};',
  ].join('\n');
}

interface Way {
  name: string;
  note: string;
  text: string;
}

function ways(place: Here, about: About, isHub: boolean): Way[] {
  const all: Way[] = [
    {
      name: 'PeerPigeon',
      note: 'The native dialect, by the unmodified peerpigeon client.',
      text: native(place, about),
    },
  ];
  if (about.peerjs) {
    const key = about.peerjs.defaultKey ? '' : ' KEY is one of those in PEERJS_KEY, which the hub shows to nobody.';
    all.push({
      name: 'PeerJS',
      note: `The unmodified peerjs client; the hub stands in for PeerServer.${key}`,
      text: peerjs(place, about, about.peerjs),
    });
  }
  all.push(
    {
      name: 'y-webrtc',
      note: 'The unmodified y-webrtc provider for Yjs. One address for the whole mesh.',
      text: yjs(place, about),
    },
    {
      name: 'Self-Streme',
      note: "Clients of Self-Streme's coordinator: what changes is the address.",
      text: coordinator(place, about),
    },
    {
      name: 'OctateCode',
      note: "Clients of OctateCode's rooms: what changes is the address.",
      text: rooms(place, about),
    },
  );
  const token = about.needsToken ? '&token=TOKEN' : '';
  all.push({
    name: 'WebSocket',
    note: 'Any WebSocket client: 40 hex digits of your choice, and JSON from there on.',
    text: `${address(place, 'ws')}/ws?peerId=0123456789abcdef0123456789abcdef01234567${token}`,
  });
  if (isHub) {
    all.push({
      name: 'Another hub',
      note: 'A further hub joins the mesh with the same HUB_TOKEN, where this one has one.',
      text: `BOOTSTRAP_HUBS=${address(place, 'ws')} hubmesh`,
    });
  }
  return all;
}

export function Connect({ about, isHub }: { about: About; isHub: boolean }) {
  const [chosen, setChosen] = useState(0);
  const all = ways(here(), about, isHub);
  const at = Math.min(chosen, all.length - 1);
  const way = all[at]!;
  return (
    <section class="card" aria-labelledby="connect">
      <h2 id="connect">Connect a client</h2>
      <Tabs id="way" names={all.map(({ name }) => name)} chosen={at} choose={setChosen} labelledby="connect" />
      <div id="way" role="tabpanel" aria-labelledby={`way-${at}`}>
        <p class="soft">{way.note}</p>
        <Snippet text={way.text} what={`the lines for ${way.name}`} />
        {about.needsToken && <p class="soft">This hub asks its clients for a token.</p>}
      </div>
    </section>
  );
}
