// The lines that connect a client of each dialect to this hub, as this page reached it.
import { useState } from 'preact/hooks';

import type { About } from './api';
import { Snippet } from './copy';

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
  const step = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = (at + by + all.length) % all.length;
    setChosen(next);
    document.getElementById(`way-${next}`)?.focus();
  };
  return (
    <section class="card" aria-labelledby="connect">
      <h2 id="connect">Connect a client</h2>
      <div class="tabs" role="tablist" aria-labelledby="connect" onKeyDown={step}>
        {all.map(({ name }, number) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`way-${number}`}
            aria-selected={number === at}
            aria-controls="way"
            tabIndex={number === at ? 0 : -1}
            onClick={() => setChosen(number)}
          >
            {name}
          </button>
        ))}
      </div>
      <div id="way" role="tabpanel" aria-labelledby={`way-${at}`}>
        <p class="soft">{way.note}</p>
        <Snippet text={way.text} what={`the lines for ${way.name}`} />
        {about.needsToken && <p class="soft">This hub asks its clients for a token.</p>}
      </div>
    </section>
  );
}
