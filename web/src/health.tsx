// Whether the hub and its mesh are well.
import type { HubStats, OtherHub, Stats } from './api';
import type { Live } from './live';
import { count, millis, short, span, webOrigin } from './words';

type Mood = 'well' | 'warn' | 'bad' | 'unknown';

interface Verdict {
  mood: Mood;
  text: string;
}

export function hubVerdict({ answers, isRunning }: Live): Verdict {
  if (!answers) return { mood: 'bad', text: 'This hub does not answer' };
  if (isRunning === undefined) return { mood: 'unknown', text: 'Asking the hub' };
  if (!isRunning) return { mood: 'warn', text: 'Shutting down' };
  return { mood: 'well', text: 'Healthy' };
}

export function meshVerdict(stats: Stats, mesh: HubStats): Verdict {
  const lost = mesh.bootstrapHubs.filter(({ connected }) => !connected).length;
  if (!stats.isHub) return { mood: 'unknown', text: 'A lone server: it links to no hubs' };
  if (lost && mesh.hubs.length === 0) return { mood: 'bad', text: 'Alone: no configured hub can be reached' };
  if (mesh.hubs.length === 0) return { mood: 'unknown', text: 'Alone: no other hub has linked to this one yet' };
  const reached = `${count(mesh.hubs.length, 'other hub')} within reach`;
  if (lost) return { mood: 'warn', text: `${reached}; ${count(lost, 'configured address', 'configured addresses')} without a link` };
  return { mood: 'well', text: reached };
}

export function Pill({ mood, text }: Verdict) {
  return (
    <span class={`pill ${mood}`}>
      <span class="dot" aria-hidden="true" />
      {text}
    </span>
  );
}

export function Figure({ name, value, note }: { name: string; value: string; note: string }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        {value}
        <small>{note}</small>
      </dd>
    </div>
  );
}

export function Figures({ stats }: { stats: Stats }) {
  return (
    <dl class="figures" id="figures">
      <Figure name="Peers here" value={stats.connections.toLocaleString('en')} note={`of ${stats.maxConnections.toLocaleString('en')} at most`} />
      <Figure name="Peers in the mesh" value={stats.peers.toLocaleString('en')} note={`in ${count(stats.networks, 'network')}`} />
      <Figure name="Other hubs" value={stats.hubs.toLocaleString('en')} note={stats.hubMeshNamespace} />
      <Figure name="Up for" value={span(stats.uptime)} note={stats.hubPeerId ? `hub ${short(stats.hubPeerId)}` : 'no hub'} />
    </dl>
  );
}

/** As many hubs as are listed without being asked for more. */
const SHOWN = 12;

export function Mesh({ stats, mesh }: { stats: Stats; mesh: HubStats }) {
  const lost = mesh.bootstrapHubs.filter(({ connected }) => !connected);
  return (
    <section class="card" aria-labelledby="mesh">
      <div class="headline">
        <h2 id="mesh">Mesh</h2>
        <span role="status">
          <Pill {...meshVerdict(stats, mesh)} />
        </span>
      </div>
      {mesh.hubs.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Other hubs">
          <table id="hubs">
            <thead>
              <tr>
                <th scope="col">Hub</th>
                <th scope="col">Region</th>
                <th scope="col">Way</th>
                <th scope="col" class="number">Round trip</th>
                <th scope="col" class="number">Peers</th>
              </tr>
            </thead>
            <tbody>
              {mesh.hubs.slice(0, SHOWN).map((hub) => (
                <HubRow key={hub.peerId} hub={hub} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {mesh.hubs.length > SHOWN && <p class="soft">and {count(mesh.hubs.length - SHOWN, 'more hub')}: /hubs lists all.</p>}
      {lost.map(({ uri, problem }) => (
        <p key={uri} class="trouble">
          <strong>{uri}</strong> {problem ?? 'no link yet'}
        </p>
      ))}
    </section>
  );
}

function HubRow({ hub }: { hub: OtherHub }) {
  const origin = webOrigin(hub.url);
  return (
    <tr>
      <th scope="row">
        {origin ? <a href={`${origin}/`}>{short(hub.peerId)}</a> : <code>{short(hub.peerId)}</code>}
        {hub.draining && <span class="tag">shutting down</span>}
      </th>
      <td>{hub.region || '–'}</td>
      <td>{hub.direct ? 'direct link' : `${hub.hops} hops`}</td>
      <td class="number">{hub.rttMs === null ? '–' : millis(hub.rttMs)}</td>
      <td class="number">{hub.peers.toLocaleString('en')}</td>
    </tr>
  );
}
