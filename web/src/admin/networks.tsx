// Networks and rooms of all dialects, with a search and in pages, and the peers of one network.
import { useEffect, useState } from 'preact/hooks';

import { clock, plain, short } from '../words';
import { query, type NetworkRow, type Networks, type PeerRow, type Peers } from './api';
import { PAGE, Pager, usePages } from './pages';
import { usePolled } from './polled';
import type { Wish } from './steering';

const DIALECTS = ['pigeon', 'peerjs', 'rooms', 'coordinator', 'yjs'];
const PACE = { everyMs: 5_000, on: ['members'] } as const;
/** How long after the last key the page asks the hub. */
const TYPED_MS = 250;

function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), TYPED_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

interface Props {
  mayAct: boolean;
  wish: (wish: Wish) => void;
}

export function NetworksView({ mayAct, wish }: Props) {
  const [dialect, setDialect] = useState('');
  const [typed, setTyped] = useState('');
  const [chosen, setChosen] = useState<NetworkRow | null>(null);
  const part = useSettled(typed);
  const pages = usePages(`${dialect} ${part}`);
  const { data, trouble } = usePolled<Networks>(query('networks', { dialect, network: part, limit: PAGE, after: pages.after }), PACE);
  return (
    <div class="pair">
      <section class="card" aria-labelledby="networks-title">
        <h2 id="networks-title">Networks and rooms</h2>
        <div class="search">
          <label>
            <span class="offscreen">Part of a name</span>
            <input type="search" placeholder="part of a name" value={typed} spellcheck={false} onInput={(event) => setTyped(event.currentTarget.value)} />
          </label>
          <label>
            <span class="offscreen">Dialect</span>
            <select value={dialect} onChange={(event) => setDialect(event.currentTarget.value)}>
              <option value="">all dialects</option>
              {DIALECTS.map((one) => (
                <option key={one} value={one}>
                  {one}
                </option>
              ))}
            </select>
          </label>
        </div>
        {trouble && <p class="trouble">{trouble}</p>}
        {data && (
          <>
            <NetworkTable rows={data.networks} chosen={chosen} choose={setChosen} />
            <Pager pages={pages} rows={data.networks.length} next={data.next} total={data.total} what="network" />
          </>
        )}
      </section>
      {chosen ? (
        <PeersView key={`${chosen.dialect} ${chosen.network}`} network={chosen} mayAct={mayAct} wish={wish} />
      ) : (
        <p class="soft hint">Choose a network to see its peers.</p>
      )}
    </div>
  );
}

const isSame = (one: NetworkRow, other: NetworkRow | null) => one.dialect === other?.dialect && one.network === other.network;

function NetworkTable({ rows, chosen, choose }: { rows: NetworkRow[]; chosen: NetworkRow | null; choose: (row: NetworkRow) => void }) {
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label="Networks">
      <table id="networks">
        <thead>
          <tr>
            <th scope="col">Network</th>
            <th scope="col">Dialect</th>
            <th scope="col" class="number">
              Peers
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={`${row.dialect} ${row.network}`} class={isSame(row, chosen) ? 'chosen' : ''}>
              <th scope="row">
                <button type="button" class="plain id" aria-pressed={isSame(row, chosen)} onClick={() => choose(row)}>
                  {plain(row.network) || '(no name)'}
                </button>
              </th>
              <td>{row.dialect}</td>
              <td class="number">{row.peers.toLocaleString('en')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function PeersView({ network: { dialect, network }, mayAct, wish }: Props & { network: NetworkRow }) {
  const pages = usePages('');
  const path = query('peers', { dialect, network, details: mayAct ? 1 : null, limit: PAGE, after: pages.after });
  const { data, trouble } = usePolled<Peers>(path, PACE);
  return (
    <section class="card" aria-labelledby="peers-title">
      <h2 id="peers-title">
        Peers of <span class="id">{plain(network)}</span> <small>{dialect}</small>
      </h2>
      {trouble && <p class="trouble">{trouble}</p>}
      {data && (
        <>
          {data.notAnswered?.length > 0 && (
            <p class="soft">No answer from {data.notAnswered.map(short).join(', ')}: some of their peers may be missing, or their addresses and subjects.</p>
          )}
          <div class="scroll tall" tabIndex={0} role="region" aria-label="Peers">
            <table id="peers">
              <thead>
                <tr>
                  {['Peer', 'Hub', 'Since', 'Address', 'Subject'].map((name) => (
                    <th key={name} scope="col">
                      {name}
                    </th>
                  ))}
                  {mayAct && <th scope="col">Actions</th>}
                </tr>
              </thead>
              <tbody>
                {data.peers.map((peer) => (
                  <Peer key={peer.id} peer={peer} dialect={dialect} network={network} mayAct={mayAct} wish={wish} />
                ))}
              </tbody>
            </table>
          </div>
          <Pager pages={pages} rows={data.peers.length} next={data.next} total={data.total} what="peer" />
        </>
      )}
    </section>
  );
}

function Peer({ peer, dialect, network, mayAct, wish }: Props & { peer: PeerRow; dialect: string; network: string }) {
  const { id, hub, sinceMs, address, subject } = peer;
  const member = { dialect, network, id };
  const name = plain(id);
  return (
    <tr data-peer={id}>
      <th scope="row" class="id">
        {name}
      </th>
      <td>
        <code>{short(hub)}</code>
      </td>
      <td>{sinceMs ? clock(sinceMs) : '–'}</td>
      <td>{address ?? '–'}</td>
      <td class="words">{subject === null || subject === undefined ? '–' : plain(subject)}</td>
      {mayAct && (
        <td class="steps">
          <button type="button" class="quiet" aria-label={`Remove ${name}`} onClick={() => wish({ what: 'remove', member })}>
            Remove
          </button>
          <button type="button" class="quiet" aria-label={`Ban ${name}`} onClick={() => wish({ what: 'ban', kind: 'id', value: id, member })}>
            Ban
          </button>
        </td>
      )}
    </tr>
  );
}
