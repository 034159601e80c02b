// Signals that wait for their target, and contested ids.
import { clock, count, plain, short } from '../words';
import { query, type AwaitedRow, type Contests, type Waiting } from './api';
import { PAGE, Pager, usePages } from './pages';
import { usePolled } from './polled';

const PACE = { everyMs: 2_000 } as const;

export function PendingView() {
  return (
    <div class="pair">
      <WaitingView />
      <ContestsView />
    </div>
  );
}

function WaitingView() {
  const pages = usePages('');
  const { data, trouble } = usePolled<Waiting>(query('waiting', { limit: PAGE, after: pages.after }), PACE);
  return (
    <Pending
      id="waiting"
      title="Waiting signals"
      note="Signals to an id that no peer has. Each waits until a peer joins with this id, or until the time of SIGNAL_WAIT_MS is over (PEERJS_EXPIRE_TIMEOUT_MS for PeerJS; five seconds, unless set). Then its sender is told."
      what="signal"
      row="target"
      hubs={data?.hubs.map(({ hub, waiting: number }) => ({ hub, number }))}
      rows={data?.waiting}
      data={data}
      pages={pages}
      trouble={trouble}
    />
  );
}

function ContestsView() {
  const pages = usePages('');
  const { data, trouble } = usePolled<Contests>(query('contests', { limit: PAGE, after: pages.after }), PACE);
  return (
    <Pending
      id="contests"
      title="Contests"
      note="Ids that a newcomer asks for while another peer has them. The hub asks that peer for a sign of life, and waits two seconds."
      what="join"
      row="contested id"
      hubs={data?.hubs.map(({ hub, contests: number }) => ({ hub, number }))}
      rows={data?.contests}
      data={data}
      pages={pages}
      trouble={trouble}
    />
  );
}

interface PendingProps {
  id: string;
  title: string;
  note: string;
  /** The word for one entry: a signal or a join. */
  what: string;
  /** The word for the id of a row. */
  row: string;
  hubs: { hub: string; number: number }[] | undefined;
  rows: AwaitedRow[] | undefined;
  data: Pick<Waiting, 'total' | 'ids' | 'next' | 'notAnswered'> | null;
  pages: ReturnType<typeof usePages>;
  trouble: string | null;
}

function Pending({ id, title, note, what, row, hubs, rows, data, pages, trouble }: PendingProps) {
  const busy = hubs?.filter(({ number }) => number > 0) ?? [];
  return (
    <section class="card" aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title}</h2>
      <p class="soft">{note}</p>
      {trouble && <p class="trouble">{trouble}</p>}
      {data && (
        <p class="total" role="status">
          {data.total.toLocaleString('en')} <small>now</small>
        </p>
      )}
      {busy.length > 0 && <p class="soft">By hub: {busy.map(({ hub, number }) => `${short(hub)} ${number.toLocaleString('en')}`).join(', ')}.</p>}
      {data && rows && (
        <>
          {rows.length > 0 && <AwaitedTable id={id} title={title} what={what} rows={rows} />}
          <Pager pages={pages} rows={rows.length} next={data.next} total={data.ids} what={row} />
        </>
      )}
      {data && data.notAnswered.length > 0 && <p class="soft">No answer from {data.notAnswered.map(short).join(', ')}.</p>}
    </section>
  );
}

function AwaitedTable({ id, title, what, rows }: Pick<PendingProps, 'id' | 'title' | 'what'> & { rows: AwaitedRow[] }) {
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label={`${title} by id`}>
      <table id={id}>
        <thead>
          <tr>
            {['Id', 'Network', 'Dialect', 'Hub', 'Since'].map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
            <th scope="col" class="number">
              Waiting
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={`${row.dialect} ${row.network} ${row.id} ${row.hub}`}>
              <th scope="row" class="id">
                {plain(row.id)}
              </th>
              <td class="id">{plain(row.network)}</td>
              <td>{row.dialect}</td>
              <td>
                <code>{short(row.hub)}</code>
              </td>
              <td>{clock(row.sinceMs)}</td>
              <td class="number">{count(row.count, what)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
